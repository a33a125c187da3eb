/** What a node is told, and what of it is valid. Invariant: a value that is not is refused before the node joins. */
import type { Logger } from "pino";
import type { Clock } from "./clock.ts";
import type { ActorKind } from "./define-actor.ts";
import { AddressError, DefinitionError } from "./errors.ts";
import { DEFAULT_ROLES, isRole, type Role, ROLES } from "./families.ts";
import { kindMap, type RunnableKind } from "./runnable.ts";

export interface NodeOptions {
  /** Unique in the cluster; one subject token. A restarted process replaces the former of its name at once; while that one lives it is refused. */
  readonly name: string;
  readonly servers: string | readonly string[];
  readonly kinds: readonly ActorKind[];
  readonly namespace?: string;
  readonly deviceRoot?: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** What it is there for: it hosts the kinds that name one of these. Default: all roles. */
  readonly roles?: readonly Role[];
  /** Its share of the shards, beside those of the others: above 0, at most 1,000. Default 1. */
  readonly weight?: number;
  /** Follows the journals of those whose shards it would inherit, and takes over what it has copied: sooner, for memory and work. Default false. */
  readonly standby?: boolean;
  /** Copies of each stream, for a cluster of servers. Default 1. */
  readonly replicas?: number;
  readonly log?: Logger;
  readonly clock?: Clock;
  /** How long to wait for a NATS server, in ms. Default 10,000. */
  readonly waitMs?: number;
  /** Run every transition twice and compare: for tests. */
  readonly verifyDeterminism?: boolean;
}

/** What a node is, wherever its connection comes from. */
export type LocalNodeOptions = Omit<NodeOptions, "servers" | "replicas" | "waitMs">;

/** Above every sensible ratio of two hosts. */
const MAX_WEIGHT = 1_000;
const NODE_NAME = /^[A-Za-z0-9_-]{1,64}$/;

/** @throws {AddressError} It does not fit a subject. */
export function checkName(name: string): void {
  if (!NODE_NAME.test(name))
    throw new AddressError(`The node name ${JSON.stringify(name)} is not valid: use 1 to 64 of A-Z a-z 0-9 _ -`);
}

/** What a node of these roles hosts of its kinds. @throws {DefinitionError} A kind is given twice. */
export function hostedKinds(kinds: readonly ActorKind[], roles: readonly Role[]): Map<string, RunnableKind> {
  const hosted = kindMap(kinds);
  for (const [kind, { placement }] of hosted)
    if (!(placement?.roles ?? DEFAULT_ROLES).some((role) => roles.includes(role))) hosted.delete(kind);
  return hosted;
}

export function checkRoles(roles: readonly Role[]): readonly Role[] {
  if (roles.length > 0 && roles.every(isRole)) return ROLES.filter((role) => roles.includes(role));
  throw new DefinitionError(
    `The node's roles ${JSON.stringify(roles)} are not valid: give some of ${ROLES.join(", ")}`,
  );
}

export function checkWeight(weight: number): number {
  if (weight > 0 && weight <= MAX_WEIGHT) return weight;
  throw new DefinitionError(`The node's weight ${weight} is not valid: give a number above 0, at most ${MAX_WEIGHT}`);
}
