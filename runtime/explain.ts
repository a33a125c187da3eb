/** Why an actor lives where it does. Invariant: the same ranking that nodes place by, over what is stored and who answers now. */
import type { Names } from "../nats-config/subjects.ts";
import { checkAddress, shardOf } from "./address.ts";
import type { NodeInfo, NodeState } from "./api.ts";
import { discover } from "./discovery.ts";
import { UnknownKindError } from "./errors.ts";
import type { FixedPlacement, Shard } from "./families.ts";
import { KindRegistry } from "./kind-registry.ts";
import { memberKey } from "./membership.ts";
import { type Candidate, type Place, Ranking } from "./placement.ts";
import type { Broker } from "./port.ts";
import { readRecord } from "./shard-table.ts";

export interface PlacementCandidate extends Candidate {
  readonly state: NodeState;
}

export interface PlacementReport {
  readonly kind: string;
  readonly id: string;
  readonly shard: Shard;
  /** The numbered shard that callers send to: its owner passes on what belongs elsewhere. */
  readonly door: number;
  /** Null: the kind shares the numbered shards. */
  readonly placement: FixedPlacement | null;
  /** `<node>.<incarnation>`; null: nobody just now. */
  readonly owner: string | null;
  /** Who should own it; null: nobody fits. */
  readonly wanted: string | null;
  /** Null: the shard has no record yet. */
  readonly epoch: number | null;
  /** Inputs up to this journal sequence are covered by snapshots. */
  readonly checkpoint: number | null;
  readonly isPinned: boolean;
  /** Best first; those that do not fit last, with the reason. */
  readonly candidates: readonly PlacementCandidate[];
}

/** @throws {AddressError} @throws {UnknownKindError} No node ever hosted the kind. */
export async function explainPlacement(
  broker: Broker,
  names: Names,
  shards: number,
  kind: string,
  id: string,
): Promise<PlacementReport> {
  checkAddress(kind, id);
  const registry = await new KindRegistry(broker, names, shards).look();
  const placement = registry.placementOf(kind);
  if (placement === undefined) throw new UnknownKindError(kind, registry.kinds);
  const shard = registry.shardOf(kind, id);
  const [nodes, stored] = await Promise.all([
    discover(broker, names, {}),
    broker.getLast(names.kv.shards.stream, names.kv.shards.key(String(shard))),
  ]);
  const record = stored === null || stored.data.length === 0 ? null : readRecord(shard, stored.data);
  const states = new Map(nodes.map((node) => [memberKey(node), node.state]));
  const placeOf = (node: NodeInfo): Place => ({ ...node, ...(node.state === "leaving" && { isLeaving: true }) });
  const ranking = new Ranking(new Map(nodes.map((node) => [memberKey(node), placeOf(node)])), registry.placementOf);
  const isPinned = record?.isPinned === true;
  return {
    kind,
    id,
    shard,
    door: shardOf(kind, id, shards),
    placement,
    owner: record?.owner ?? null,
    wanted: ranking.ownerOf(shard, isPinned) ?? null,
    epoch: record?.epoch ?? null,
    checkpoint: record?.checkpoint ?? null,
    isPinned,
    candidates: ranking
      .candidates(shard, isPinned)
      .map((candidate) => ({ ...candidate, state: states.get(candidate.key) ?? "dead" })),
  };
}
