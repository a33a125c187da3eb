/** How a command ends for the script that called it. Invariant: the numbers never change their meaning. */
import { TroupeError } from "../../runtime/errors.ts";
import { NatsConfigError } from "../../nats-config/errors.ts";

export const EXIT = { ok: 0, failed: 1, usage: 2, unreachable: 3, notFound: 4 } as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

export const EXIT_HELP = `Exit codes:
  0  done
  1  refused: the same call would fail again (of \`ask\`: also a reply with ok: false)
  2  the command line is not valid
  3  nothing reached, or busy: the same call may succeed later
  4  not found`;

/** A command that ends for a reason of its own. */
export class CliError extends Error {
  override readonly name = "CliError";
  readonly exit: ExitCode;
  constructor(exit: ExitCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.exit = exit;
  }
}

const USAGE_CODES = new Set(["BAD_ADDRESS"]);
const NOT_FOUND_CODES = new Set([
  ...["ACTOR_NOT_FOUND", "UNKNOWN_KIND", "AGENT_NOT_FOUND", "LETTER_NOT_FOUND", "UNKNOWN_RESOURCE"],
]);

export function exitOf(error: unknown): ExitCode {
  if (error instanceof CliError) return error.exit;
  if (error instanceof TroupeError || error instanceof NatsConfigError) {
    if (NOT_FOUND_CODES.has(error.code)) return EXIT.notFound;
    if (USAGE_CODES.has(error.code)) return EXIT.usage;
    return error.retryable ? EXIT.unreachable : EXIT.failed;
  }
  return EXIT.failed;
}

/** What a person is told: the message and nothing of the inside. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
