/** Which machine a replay runs. Invariant: a module that exports nothing usable is a usage error that says what is missing. */
import { pathToFileURL } from "node:url";
import type { AnyStateMachine } from "xstate";
import { type ActorKind, defineActor } from "../../runtime/define-actor.ts";
import { isObject } from "../json.ts";
import { CliError, EXIT, messageOf } from "./exit.ts";

const nothing = () => Promise.reject(new Error("A replay runs nothing"));

/** The kind as this program has it, or undefined. */
export async function findKind(kind: string): Promise<ActorKind | undefined> {
  // Loaded here, so that short commands do not pay for it.
  const { allKinds } = await import("../kinds.ts");
  const known = allKinds({ runSkill: nothing, stopSkill: nothing, writeLease: nothing });
  return known.find((candidate) => candidate.kind === kind);
}

/**
 * A kind, or a machine that becomes one, from a user's module.
 * @throws {CliError} It cannot be loaded, or exports neither.
 */
export async function loadKind(file: string, kind: string): Promise<ActorKind> {
  let module: unknown;
  try {
    module = await import(pathToFileURL(file).href);
  } catch (cause) {
    throw new CliError(EXIT.usage, `The module "${file}" cannot be loaded: ${messageOf(cause)}`, { cause });
  }
  const exported = Object.values(module as Record<string, unknown>);
  const found = exported.find(
    (value): value is ActorKind & Record<string, unknown> =>
      isObject(value) && value["kind"] === kind && isMachine(value["machine"]),
  );
  if (found !== undefined) return found;
  const machine = exported.find(isMachine);
  if (machine !== undefined) return defineActor({ kind, machine });
  throw new CliError(
    EXIT.usage,
    `The module "${file}" exports neither a kind "${kind}" nor a machine: export one of them`,
  );
}

const isMachine = (value: unknown): value is AnyStateMachine =>
  typeof value === "object" &&
  value !== null &&
  "getInitialSnapshot" in value &&
  "transition" in value &&
  "root" in value;
