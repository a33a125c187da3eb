/**
 * Which events an agent takes. Invariant: missing data denies: a filter on a field that an event lacks does not match,
 * except one that says what the field must not be.
 */
import { typeMatches } from "../actors/classify.ts";
import type { LabEvent } from "../actors/messages/event.ts";
import type { AgentPlan, AgentTrigger, Playbook } from "../actors/messages/agent.ts";

/** The trigger that takes `event`: the most exact one whose filters agree. */
export function triggerFor(plan: AgentPlan, event: LabEvent): AgentTrigger | undefined {
  return mostExact(
    plan.triggers.filter(
      (trigger) => typeMatches(trigger.type, event.type) && passesFilters(trigger.filters, event.data),
    ),
    (trigger) => trigger.type,
  );
}

/** The playbook for an event type: the most exact one. */
export const playbookFor = (plan: AgentPlan, type: string): Playbook | undefined =>
  mostExact(
    plan.playbooks.filter((playbook) => typeMatches(playbook.on, type)),
    (playbook) => playbook.on,
  );

function mostExact<T>(items: readonly T[], pattern: (item: T) => string): T | undefined {
  const rank = (item: T) => (pattern(item).endsWith("*") ? pattern(item).length : Number.POSITIVE_INFINITY);
  return items.reduce<T | undefined>(
    (best, item) => (best === undefined || rank(item) > rank(best) ? item : best),
    undefined,
  );
}

/** Every filter agrees with the event's data. A list means any of; `{ not: … }` means none of. */
export function passesFilters(filters: Readonly<Record<string, unknown>> | undefined, data: unknown): boolean {
  return Object.entries(filters ?? {}).every(([path, wanted]) => {
    const value = valueAt(data, path);
    if (typeof wanted === "object" && wanted !== null && "not" in wanted) return !isAnyOf(wanted.not, value);
    return value !== undefined && isAnyOf(wanted, value);
  });
}

const isAnyOf = (wanted: unknown, value: unknown): boolean =>
  Array.isArray(wanted) ? wanted.includes(value) : wanted === value;

function valueAt(data: unknown, path: string): unknown {
  return path.split(".").reduce<unknown>((here, step) => {
    if (typeof here !== "object" || here === null || !Object.hasOwn(here, step)) return undefined;
    return (here as Readonly<Record<string, unknown>>)[step];
  }, data);
}
