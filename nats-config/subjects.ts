/**
 * Every subject of the system, as functions of one namespace. Invariant: no other file holds a subject literal, and ids
 * stand at fixed places so that permissions can name them.
 */

/** How many shards a new cluster gets. Fixed for a cluster's life: actors hash to shards. */
export const DEFAULT_SHARDS = 64;
export const DEFAULT_NAMESPACE = "troupe";
export const DEFAULT_DEVICE_ROOT = "device";

export interface NamesOptions {
  /** Prefix of everything the cluster owns. One token: letters, digits, `-`, `_`. */
  readonly namespace?: string;
  /** First token of the devices' own subjects. Clusters that share a server have different ones. */
  readonly deviceRoot?: string;
}

const TOKEN = /^[A-Za-z0-9_-]{1,64}$/;

/** The subjects, streams and buckets of one cluster. */
export type Names = ReturnType<typeof makeNames>;

/**
 * Derives all names of a cluster from its namespace.
 * @throws {RangeError} The namespace or device root is not one plain subject token.
 */
export function makeNames(options: NamesOptions = {}) {
  const ns = options.namespace ?? DEFAULT_NAMESPACE;
  const device = options.deviceRoot ?? DEFAULT_DEVICE_ROOT;
  for (const [what, value] of [
    ["namespace", ns],
    ["device root", device],
  ] as const) {
    if (!TOKEN.test(value)) {
      throw new RangeError(
        `The ${what} ${JSON.stringify(value)} is not one subject token: use 1 to 64 of A-Z a-z 0-9 _ -`,
      );
    }
  }
  const bucket = (name: string) => `${ns}_${name}`;
  const kv = (name: string) => ({
    bucket: bucket(name),
    stream: `KV_${bucket(name)}`,
    key: (key: string) => `$KV.${bucket(name)}.${key}`,
  });
  return {
    namespace: ns,
    deviceRoot: device,
    stream: {
      journal: `${ns}_JOURNAL`,
      snapshot: `${ns}_SNAPSHOT`,
      history: `${ns}_HISTORY`,
      wake: `${ns}_WAKE`,
      dead: `${ns}_DEAD`,
      pool: `${ns}_POOL`,
      ingress: `${ns}_INGRESS`,
      presence: `${ns}_PRESENCE`,
    },
    /** Node incarnations with a time to live; shard ownership; cluster facts; agent definitions; who drives what. */
    kv: { nodes: kv("nodes"), shards: kv("shards"), meta: kv("meta"), agents: kv("agents"), leases: kv("leases") },

    ...actorSubjects(ns),
    ...doorSubjects(ns, device),
  };
}

/** One token: a number, or `<kind>=<value>` for a shard of a kind's own. */
type Shard = number | string;

/** What reaches actors, and what is stored of them. */
function actorSubjects(ns: string) {
  return {
    act: (shard: Shard, kind: string, id: string) => `${ns}.act.${shard}.${kind}.${id}`,
    actOfShard: (shard: Shard) => `${ns}.act.${shard}.>`,
    query: (shard: Shard, kind: string, id: string) => `${ns}.qry.${shard}.${kind}.${id}`,
    queryOfShard: (shard: Shard) => `${ns}.qry.${shard}.>`,
    control: (shard: Shard, kind: string, id: string) => `${ns}.ctl.${shard}.${kind}.${id}`,
    controlOfShard: (shard: Shard) => `${ns}.ctl.${shard}.>`,
    journal: (node: string, incarnation: string) => `${ns}.jrn.${node}.${incarnation}`,
    journals: `${ns}.jrn.*.*`,
    snapshot: (shard: Shard, kind: string, id: string) => `${ns}.snap.${shard}.${kind}.${id}`,
    snapshotsOfKind: (kind: string) => `${ns}.snap.*.${kind}.*`,
    snapshots: `${ns}.snap.*.*.*`,
    history: (kind: string, id: string) => `${ns}.hist.${kind}.${id}`,
    histories: `${ns}.hist.*.*`,
    /** Where a passivated actor's next wake-up is scheduled, and where it then arrives. One each per actor. */
    timer: (shard: Shard, kind: string, id: string) => `${ns}.tmr.${shard}.${kind}.${id}`,
    timers: `${ns}.tmr.*.*.*`,
    wake: (shard: Shard, kind: string, id: string) => `${ns}.wake.${shard}.${kind}.${id}`,
    wakeOfShard: (shard: Shard) => `${ns}.wake.${shard}.>`,
    wakes: `${ns}.wake.*.*.*`,
    dead: (reason: string, kind: string, id: string) => `${ns}.dead.${reason}.${kind}.${id}`,
    /** Letters alone, not the marks of those that were seen to. */
    deadLetters: `${ns}.dead.*.*.*`,
    deadMark: (letter: number) => `${ns}.dead.mark.${letter}`,
    deadMarks: `${ns}.dead.mark.*`,
    deadAll: `${ns}.dead.>`,
    status: (kind: string, id: string) => `${ns}.status.${kind}.${id}`,
    /** Requests to one node itself: what it hosts, how it is. */
    node: (node: string) => `${ns}.node.${node}`,
    /** Told once shards have a new owner that serves them: who waits for an answer of the former one asks again. */
    opened: `${ns}.opened`,
    /** What the server tells of connections, where the account imports it. Last token: the event. */
    connects: "$SYS.ACCOUNT.*.CONNECT",
    disconnects: "$SYS.ACCOUNT.*.DISCONNECT",
  };
}

/** What comes in from outside and goes out to it. */
function doorSubjects(ns: string, device: string) {
  return {
    pool: (name: string, priority: string, type: string) => `${ns}.pool.${name}.${priority}.${type}`,
    poolAll: `${ns}.pool.>`,
    ingress: (source: string, type: string) => `${ns}.in.${source}.${type}`,
    ingressAll: `${ns}.in.>`,
    skill: (skill: string) => `${ns}.skill.${skill}`,
    /** All processes of a skill's service hear it, not one of them. */
    skillStop: (skill: string) => `${ns}.skill.${skill}.stop`,

    deviceEvent: (host: string, dev: string, type: string) => `${device}.${host}.${dev}.event.${type}`,
    deviceEvents: `${device}.*.*.event.>`,
    deviceHeartbeat: (host: string, dev: string) => `${device}.${host}.${dev}.heartbeat`,
    deviceHeartbeats: `${device}.*.*.heartbeat`,
    deviceCommand: (host: string, dev: string) => `${device}.${host}.${dev}.cmd`,
    /** Whoever drives the devices of a host answers here. */
    hostDriver: (host: string) => `${device}.${host}.driver`,
    /** What a device's event looks like without its device. No stream can take it: it would overlap a device named "event". */
    hostEvents: `${device}.*.event.>`,
  };
}
