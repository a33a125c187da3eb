/**
 * Skills: what a step can call. Invariant: running a skill always gives a result that says succeeded, failed or unknown,
 * small enough to be kept; only an abort is thrown. A skill that throws has not answered: what it did is unknown.
 */
import type { DevicePlace } from "../actors/messages/event.ts";
import type { RunSkill, SkillCall, SkillResult, StopSkill } from "../actors/messages/task.ts";
import type { Names } from "../nats-config/subjects.ts";
import { type Clock, systemClock } from "../runtime/clock.ts";
import { AbortedError } from "../runtime/errors.ts";
import type { Broker } from "../runtime/port.ts";
import type { SkillFacts } from "./definition.ts";
import { ID_FORM } from "./definition-schema.ts";
import { ProcessNotStartedError, SkillDefinitionError } from "./errors.ts";
import { LiveRuns } from "./live-runs.ts";
import { runNatsSkill } from "./nats-skill.ts";
import { suggest } from "./nearest.ts";
import { NATS_SKILL_PREFIX } from "./plan.ts";
import { boundResult } from "./skill-result.ts";
import { stopRemote } from "./stop-remote.ts";

/** What a skill has at hand while it runs. */
export interface SkillRun {
  /** Fires when the try's time is up, the lock is lost or the task is aborted: stop at once. */
  readonly signal: AbortSignal;
  /** The idempotency key: the same until the step was answered "failed", through crashes, time-outs and errors. */
  readonly invocationId: string;
  /** When the try's time is up, in ms since 1970. */
  readonly deadlineAtMs: number;
  readonly device: DevicePlace | null;
  /** Fences the device: a driver refuses any smaller than the largest it saw. */
  readonly token: number | null;
  /** The lock that the task holds, whatever it is of. */
  readonly fence: SkillCall["fence"];
  readonly task: string;
  readonly step: string;
  readonly broker: Broker;
  readonly names: Names;
  readonly clock: Clock;
}

export interface Skill extends SkillFacts {
  readonly id: string;
  readonly description: string;
  readonly run: (args: Readonly<Record<string, unknown>>, run: SkillRun) => Promise<SkillResult>;
}

/**
 * Declares a skill in code.
 * @throws {SkillDefinitionError} The id cannot stand in a definition.
 */
export function defineSkill(skill: Skill): Skill {
  if (!ID_FORM.pattern.test(skill.id))
    throw new SkillDefinitionError(`The skill id "${skill.id}" is not valid: ${ID_FORM.says}`);
  return skill;
}

export interface SkillDeps {
  readonly broker: Broker;
  readonly names: Names;
  readonly clock?: Clock;
}

/** The skills of one process. */
export class SkillRegistry {
  readonly #skills = new Map<string, Skill>();
  readonly #deps: Required<SkillDeps>;
  readonly #live = new LiveRuns();

  /** @throws {SkillDefinitionError} Two skills have one id. */
  constructor(skills: readonly Skill[], deps: SkillDeps) {
    this.#deps = { clock: systemClock, ...deps };
    for (const skill of skills) {
      if (this.#skills.has(skill.id)) throw new SkillDefinitionError(`There are two skills "${skill.id}": rename one`);
      this.#skills.set(skill.id, skill);
    }
  }

  /** What definitions are checked against. */
  get facts(): ReadonlyMap<string, SkillFacts> {
    return this.#skills;
  }

  list(): Skill[] {
    return [...this.#skills.values()];
  }

  /**
   * Runs one call of a step. Bound, so that it can be handed to the task kind.
   * @throws {AbortedError} The signal fired; what the skill had begun is unknown.
   */
  readonly runSkill: RunSkill = async (call, signal) => {
    const { device, token, fence, task, step, invocationId, deadlineAtMs } = call;
    const run: SkillRun = { signal, invocationId, deadlineAtMs, device, token, fence, task, step, ...this.#deps };
    try {
      signal.throwIfAborted();
      return boundResult(await this.#live.track(task, () => this.#run(call, run)));
    } catch (error) {
      if (error instanceof AbortedError || signal.aborted)
        throw new AbortedError(`Skill "${call.skill}" was aborted`, { cause: error });
      if (error instanceof ProcessNotStartedError) return { status: "failed", message: error.message };
      return {
        status: "unknown",
        message: `Skill "${call.skill}" threw ${error instanceof Error ? `${error.name}: ${error.message}` : String(error)}`,
      };
    }
  };

  /**
   * Waits for the runs of a task in this process, whose signals fired before, and has whoever else may work on it stop. Bound, as
   * {@link runSkill} is.
   * @throws {AbortedError} The signal fired before all had ended.
   */
  readonly stopSkill: StopSkill = async (call, signal) => {
    const parts = await Promise.all([this.#live.over(call.task, signal), stopRemote(call, this.#deps)]);
    return parts.every((isOver) => isOver);
  };

  async #run(call: SkillCall, run: SkillRun): Promise<SkillResult> {
    if (call.skill.startsWith(NATS_SKILL_PREFIX))
      return runNatsSkill(call.skill.slice(NATS_SKILL_PREFIX.length), call.args, run);
    const skill = this.#skills.get(call.skill);
    if (skill === undefined) {
      return {
        status: "failed",
        message: `This node has no skill "${call.skill}": ${suggest(call.skill, [...this.#skills.keys()], "skills")}`,
      };
    }
    const isReader = skill.locks !== undefined && skill.locks !== "device";
    if (skill.needsDevice && (run.device === null || (run.token === null && !isReader))) {
      return { status: "failed", message: `Skill "${skill.id}" needs a locked device, and the task holds none` };
    }
    const missing = skill.args?.required.find((name) => call.args[name] === undefined);
    if (missing !== undefined)
      return { status: "failed", message: `Skill "${skill.id}" needs the argument "${missing}"` };
    return skill.run(call.args, run);
  }
}
