/**
 * Which shard holds an actor. Most kinds share the numbered shards; a kind with a placement has shards of its own, `<kind>=<number>`,
 * or one for each value of a label, `<kind>=<value>`. Invariant: a function of the address and of the kind's placement, which
 * is fixed for a cluster's life.
 */
import { fnv1a, keyOf, shardOf } from "./address.ts";
import { DefinitionError } from "./errors.ts";

/** A number: shared by all kinds without a placement. A text: one kind's own. */
export type Shard = number | string;

/** What a node is there for: it hosts the kinds that name one of its roles. */
export const ROLES = ["WORKER", "COORDINATOR", "MONITOR", "GATEWAY"] as const;
export type Role = (typeof ROLES)[number];
/** What may host a kind that names no role. */
export const DEFAULT_ROLES: readonly Role[] = ["WORKER"];

/** Where a kind's actors may live: on nodes that define it and, of these, */
export interface Placement {
  /** with one of these roles. Default: WORKER. */
  readonly roles?: readonly Role[];
  /**
   * whose label of this name is the id's part before {@link upTo}. Until a node with that value has joined they live on any
   * node that defines the kind; from then on nowhere else, and without it they are offline.
   */
  readonly label?: string;
  /** Ends the label's value in the id. Default `:`; without it the whole id is the value. */
  readonly upTo?: string;
}

/** The same as stored and compared: all fields, in one order. */
export interface FixedPlacement {
  readonly roles: readonly Role[];
  readonly label: string | null;
  readonly upTo: string;
}

const LABEL = /^[A-Za-z][\w.-]{0,63}$/;
const UP_TO = /^[_:@=+~-]$/;

/** @throws {DefinitionError} A role, label or separator is not valid. */
export function fixPlacement({ roles = DEFAULT_ROLES, label, upTo = ":" }: Placement): FixedPlacement {
  if (roles.length === 0 || roles.some((role) => !isRole(role)))
    throw new DefinitionError(
      `The placement's roles ${JSON.stringify(roles)} are not valid: give some of ${ROLES.join(", ")}`,
    );
  if (label !== undefined && !LABEL.test(label))
    throw new DefinitionError(
      `The placement's label ${JSON.stringify(label)} is not valid: use 1 to 64 of A-Z a-z 0-9 _ . -, a letter first`,
    );
  if (!UP_TO.test(upTo))
    throw new DefinitionError(`The placement's upTo ${JSON.stringify(upTo)} is not valid: use one of _ : @ = + ~ -`);
  return { roles: ROLES.filter((role) => roles.includes(role)), label: label ?? null, upTo };
}

export const isRole = (value: unknown): value is Role => ROLES.includes(value as Role);

/** The shard of an actor. `shards`: how many there are of a number, a fact of the cluster. */
export function shardIn(kind: string, id: string, placement: FixedPlacement | null, shards: number): Shard {
  if (placement === null) return shardOf(kind, id, shards);
  if (placement.label === null) return `${kind}=${shardOf(kind, id, shards)}`;
  const end = id.indexOf(placement.upTo);
  return `${kind}=${end < 0 ? id : id.slice(0, end)}`;
}

/** Splits a shard of a kind's own: kinds hold no `=`. */
export function partsOfShard(shard: string): { readonly kind: string; readonly value: string } {
  const end = shard.indexOf("=");
  return { kind: shard.slice(0, end), value: shard.slice(end + 1) };
}

/** Whether a key of the bucket of shards, or a token of a subject, is a shard's: whatever else stands there is not ours. */
export const isShardKey = (key: string): boolean => /^(\d{1,4}|[a-z][a-z0-9-]{0,31}=[\w:@=+~-]{1,128})$/.test(key);

export const shardOfKey = (key: string): Shard => (/^\d+$/.test(key) ? Number(key) : key);

/** 32 bits that tell shards apart. */
export const hashOfShard = (shard: Shard): number =>
  typeof shard === "number" ? Math.imul(shard + 1, 0x9e3779b1) : fnv1a(shard);

/** Numbers first, then texts: an order for people. */
export const inOrder = (a: Shard, b: Shard): number =>
  typeof a === "number" && typeof b === "number"
    ? a - b
    : keyOf(typeof a, String(a)) < keyOf(typeof b, String(b))
      ? -1
      : 1;
