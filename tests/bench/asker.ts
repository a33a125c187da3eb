/**
 * Who asks crews for work as a client does, and hears the ends in the pool. Invariant: every piece of work that it asked for is
 * answered with when it was sent, taken, begun, ended and heard of, by clocks of one machine.
 */
import { crewKind } from "../../actors/crew.ts";
import {
  type CrewPlan,
  type CrewReply,
  type SubmitState,
  WORK_POOL,
  type WorkEnded,
} from "../../actors/messages/crew.ts";
import type { Client } from "../../runtime/api.ts";
import { wallMs } from "./kinds.ts";
import { until } from "./load.ts";

/** Patience with the answer of a crew, in ms. */
export const ANSWER_MS = 60_000;
/** Patience with workers until they have enlisted, in ms. */
const ENLIST_MS = 20_000;

export interface Ended {
  readonly state: string;
  /** What the crew answered: a worker had it at once, or it waited. */
  readonly taken: SubmitState;
  readonly sentAtMs: number;
  /** When the crew's answer was heard: it has it durably. */
  readonly acceptedAtMs: number;
  /** When a worker ran it, and was done with it. */
  readonly startedAtMs: number;
  readonly stoppedAtMs: number;
  /** When its end was heard from the pool. */
  readonly endedAtMs: number;
}

export class Asker {
  readonly #client: Client;
  readonly #waiting = new Map<string, (ended: WorkEnded) => void>();
  #count = 0;

  constructor(client: Client) {
    this.#client = client;
    client.broker.subscribe(client.names.pool(WORK_POOL, "low", "work.ended"), ({ data }) => {
      const { data: ended } = JSON.parse(Buffer.from(data).toString()) as { data: WorkEnded };
      this.#waiting.get(ended.work)?.(ended);
      this.#waiting.delete(ended.work);
    });
  }

  async run(crew: string): Promise<Ended> {
    const id = `w${this.#count++}`;
    const end = new Promise<WorkEnded>((resolve) => this.#waiting.set(id, resolve));
    const sentAtMs = wallMs();
    const answer = (await this.#client.ask(
      crewKind,
      crew,
      { type: "submit", work: { id, data: null } },
      { deadlineMs: ANSWER_MS },
    )) as CrewReply;
    if (!answer.ok) throw new Error(answer.message);
    const acceptedAtMs = wallMs();
    const { state, result } = await end;
    const { startedAtMs, stoppedAtMs } = (result ?? { startedAtMs: Number.NaN, stoppedAtMs: Number.NaN }) as Pick<
      Ended,
      "startedAtMs" | "stoppedAtMs"
    >;
    return { state, taken: answer.state, sentAtMs, acceptedAtMs, startedAtMs, stoppedAtMs, endedAtMs: wallMs() };
  }
}

/** Has crews of these names follow a plan; resolves when their workers are there. */
export async function declare(
  client: Client,
  names: readonly string[],
  plan: Partial<CrewPlan> & Pick<CrewPlan, "worker">,
): Promise<void> {
  for (const name of names) await client.ask(crewKind, name, { type: "declare", plan });
  await until("all workers have enlisted", ENLIST_MS, async () => {
    const views = await Promise.all(names.map((name) => client.query(crewKind, name)));
    return views.every(({ context }) =>
      (context as { members: { sinceMs: number | null }[] }).members.every(({ sinceMs }) => sinceMs !== null),
    );
  });
}

/** The most pieces of work that were in workers' hands at one moment. */
export function mostAtOnce(ends: readonly Ended[]): number {
  const steps = ends.flatMap(({ startedAtMs, stoppedAtMs }) => [
    { atMs: startedAtMs, by: 1 },
    { atMs: stoppedAtMs, by: -1 },
  ]);
  let now = 0;
  let most = 0;
  for (const { by } of steps.toSorted((a, b) => a.atMs - b.atMs)) most = Math.max(most, (now += by));
  return most;
}
