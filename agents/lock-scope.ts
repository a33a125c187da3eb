/** What a skill needs for itself. Invariant: null only if nobody says anything, which leaves it to the playbook's device. */
import type { LockScope } from "../actors/messages/task.ts";
import type { SkillFacts } from "./definition-rules.ts";

interface Declared {
  readonly id?: string | undefined;
  readonly nats?: string | undefined;
  readonly needs_device?: boolean | undefined;
  readonly locks?: LockScope | undefined;
}

/** By the definition's own words, else by the skill's. */
export function scopeOf(
  declared: readonly (Declared | undefined)[],
  skill: string,
  skills: ReadonlyMap<string, SkillFacts> | undefined,
): LockScope | null {
  const own = declared.find((each) => each?.id === skill);
  const facts = own?.nats === undefined ? skills?.get(skill) : undefined;
  const isDriver = own?.needs_device === true || facts?.needsDevice === true;
  return own?.locks ?? facts?.locks ?? (isDriver ? "device" : null);
}
