/** Whatever code throws, as data. Invariant: total and plain: nothing that can be thrown makes these throw in turn. */
import { TroupeError } from "./errors.ts";

export interface PlainError {
  readonly name: string;
  readonly message: string;
  readonly code?: string;
}

/** What stands for something that can be neither read nor printed. */
const UNREADABLE: PlainError = { name: "Error", message: "Something was thrown that cannot be read: throw an Error" };

/** An error as data: what `onError` sees in `event.error`. */
export function plainError(error: unknown): PlainError {
  try {
    return read(error);
  } catch {
    return UNREADABLE; // a proxy, a getter or a conversion that throws itself
  }
}

/** One line for logs, journals and dead letters: our own code or the error's name first. */
export function thrownText(error: unknown): string {
  const { name, message } = plainError(error);
  try {
    if (error instanceof TroupeError) return `${error.code}: ${message}`;
    return error instanceof Error ? `${name}: ${message}` : message;
  } catch {
    return message;
  }
}

function read(error: unknown): PlainError {
  if (typeof error !== "object" || error === null) return { name: "Error", message: String(error).toWellFormed() };
  const { name, message, code } = error as { name?: unknown; message?: unknown; code?: unknown };
  if (!(error instanceof Error) && typeof message !== "string") return { name: "Error", message: printed(error) };
  return {
    name: typeof name === "string" ? name.toWellFormed() : "Error",
    message: String(message).toWellFormed(),
    ...(typeof code === "string" && { code: code.toWellFormed() }),
  };
}

function printed(value: object): string {
  try {
    return JSON.stringify(value) ?? typeof value; // which writes half a surrogate pair as an escape
  } catch {
    return Object.prototype.toString.call(value); // cyclic
  }
}
