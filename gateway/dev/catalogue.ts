/** Registers the agents that come with the package. Invariant: doing it again changes nothing, and it goes through the same door as everybody's. */
import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { type Clock, sleep } from "../../runtime/clock.ts";
import { CliError, EXIT, messageOf } from "../commands/exit.ts";
import { isObject } from "../json.ts";

/** How long the gateway and the nodes may take until they store a definition, in ms. */
const REGISTER_DEADLINE_MS = 30_000;
const RETRY_MS = 200;
/** From here on an answer says that the same request may succeed later. */
const SERVER_ERROR = 500;

/** The catalogue's folder: beside the sources, and at the package's root when built. */
function catalogueDir(): string {
  const places = ["../../agents/catalogue/", "../../../agents/catalogue/"].map((path) =>
    fileURLToPath(new URL(path, import.meta.url)),
  );
  const found = places.find((path) => existsSync(path));
  if (found === undefined)
    throw new CliError(
      EXIT.failed,
      `The agents' catalogue is missing (${places.join(", ")}): install the package anew`,
    );
  return found;
}

export interface RegisterDeps {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly say: (text: string) => void;
}

/** Registers every agent of the catalogue with the gateway at `url`. A version that is there with other content stays. */
export async function registerCatalogue(url: string, deps: RegisterDeps): Promise<void> {
  const directory = catalogueDir();
  const files = (await readdir(directory)).filter((file) => file.endsWith(".yaml")).toSorted();
  for (const file of files) deps.say(await register(url, file, await readFile(`${directory}/${file}`, "utf8"), deps));
}

async function register(url: string, file: string, text: string, { clock, signal }: RegisterDeps): Promise<string> {
  const endMs = clock.monotonic() + REGISTER_DEADLINE_MS;
  for (;;) {
    const { status, answer } = await post(`${url}/api/agents/register`, text, signal);
    if (status !== null && status < SERVER_ERROR) return outcome(file, status, answer);
    if (clock.monotonic() > endMs)
      throw new CliError(EXIT.unreachable, `The gateway did not take ${file}: ${detailOf(answer)}`);
    await sleep(clock, RETRY_MS, signal);
  }
}

async function post(
  url: string,
  body: string,
  signal: AbortSignal,
): Promise<{ status: number | null; answer: unknown }> {
  try {
    const response = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/yaml" },
      body,
      signal,
    });
    const text = await response.text();
    try {
      return { status: response.status, answer: JSON.parse(text) as unknown };
    } catch {
      return { status: response.status, answer: text };
    }
  } catch (error) {
    // Nobody listens yet, or no longer: the deadline decides.
    signal.throwIfAborted();
    return { status: null, answer: messageOf(error) };
  }
}

const detailOf = (answer: unknown): string =>
  isObject(answer) && typeof answer["detail"] === "string" ? answer["detail"] : (JSON.stringify(answer) ?? "no answer");

function outcome(file: string, status: number, answer: unknown): string {
  if (status === 409) return `${file}: kept as it is registered (${detailOf(answer)})`;
  if (status >= 400) throw new CliError(EXIT.failed, `The gateway refused ${file}: ${detailOf(answer)}`);
  const id = isObject(answer) ? `${String(answer["id"])} ${String(answer["version"])}` : file;
  const active = isObject(answer) ? answer["activeVersion"] : undefined;
  const inForce = isObject(answer) && active !== answer["version"] ? `; ${String(active)} stays active` : "";
  return `${status === 201 ? `registered ${id}` : `${id} is registered`}${inForce}`;
}
