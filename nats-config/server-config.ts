/**
 * Renders nats-server's configuration from data. Invariant: `server.conf` and `cluster.conf` beside this file are its
 * output (a test compares them), and every limit that the runtime relies on is written out, never a server default.
 */
import { ConfigValueError } from "./errors.ts";

/** Largest message, in bytes. The runtime closes its rounds well under it. */
export const MAX_PAYLOAD_BYTES = 1024 ** 2;
/**
 * What JetStream may promise to streams, in bytes. The server adds up the streams' `max_bytes` and refuses a stream
 * beyond this sum; its default follows the free disk, so that a small disk would refuse streams that stay small.
 */
export const MAX_STORE_BYTES = 1024 ** 4;
/**
 * What the server keeps for one client that does not read, in bytes, and how long one write to it may take. Beyond either it ends
 * the connection: a reader that stopped costs this much and no more. The client library connects again by itself.
 */
export const MAX_PENDING_BYTES = 64 * 1024 ** 2;
const WRITE_DEADLINE = "10s";
/** How long a clustered or single server writes before it syncs when not told `always`, as the server has it. */
const DEFAULT_SYNC = "2m";

/** The account of nodes, clients and devices. Not the server's global one, which can import nothing from the system's. */
const ACCOUNT = "TROUPE";
/** Who connects without credentials is this user of {@link ACCOUNT}. */
const ANYBODY = "anybody";

/** A value, or the environment variable that the server takes it from. */
export type Setting<T> = T | { readonly env: string };

export interface ClusterSettings {
  readonly name: string;
  readonly listen: Setting<string>;
  /** `nats://host:port` of the members; a route to itself does no harm, so all members share one list. */
  readonly routes: readonly string[];
}

export interface ServerSettings {
  readonly serverName: Setting<string>;
  /** `host:port` for clients. */
  readonly listen: Setting<string>;
  readonly storeDir: Setting<string>;
  /** `always`: an acknowledged message is on the disk. `interval`: it is in the kernel; a replica has it too, or it is a test. */
  readonly sync: "always" | "interval";
  /** `host:port` for devices that speak MQTT 3.1.1. */
  readonly mqtt?: Setting<string>;
  /** `host:port` for browsers, without TLS: loopback only, or behind a proxy. */
  readonly websocket?: Setting<string>;
  /** `host:port` of the health and statistics pages. */
  readonly monitor?: Setting<string>;
  readonly cluster?: ClusterSettings;
  /** Who may listen to all of `$SYS`. */
  readonly system?: { readonly user: string; readonly password: Setting<string> };
}

const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]*$/;
const LISTEN = /^(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\]):\d{1,5}$/;
const HAS_CONTROL = /\p{Cc}/u;

function quoted(what: string, value: string): string {
  if (HAS_CONTROL.test(value) || value === "") {
    throw new ConfigValueError(
      `The ${what} ${JSON.stringify(value)} is empty or holds a control character: name another`,
    );
  }
  return `"${value.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
}

function setting(what: string, value: Setting<string>): string {
  if (typeof value === "string") return quoted(what, value);
  if (!VARIABLE.test(value.env))
    throw new ConfigValueError(
      `The variable ${JSON.stringify(value.env)} is no environment variable's name: use letters, digits and _`,
    );
  return `$${value.env}`;
}

function address(what: string, value: Setting<string>): string {
  if (typeof value === "string" && !LISTEN.test(value)) {
    throw new ConfigValueError(
      `The ${what} address ${JSON.stringify(value)} is not host:port: write it as 127.0.0.1:4222`,
    );
  }
  return setting(`${what} address`, value);
}

function clusterLines({ name, listen, routes }: ClusterSettings): string[] {
  return [
    "cluster {",
    `  name: ${quoted("cluster name", name)}`,
    `  listen: ${address("cluster", listen)}`,
    // Clients are told all members by NATS_URL; the addresses that members see of each other mean nothing to them.
    "  no_advertise: true",
    "  routes: [",
    ...routes.map((route) => `    ${quoted("route", route)}`),
    "  ]",
    "}",
  ];
}

/** One account for all, which hears from the system's when its clients come and go: nodes take over from that. */
function accountLines(system: ServerSettings["system"]): string[] {
  const events = ["CONNECT", "DISCONNECT"].map((event) => quoted("event", `$SYS.ACCOUNT.${ACCOUNT}.${event}`));
  const lines = [
    "accounts {",
    `  ${ACCOUNT} {`,
    "    jetstream: enabled",
    `    users: [ { user: ${quoted("user", ANYBODY)}, password: "" } ]`,
    "    imports: [",
    ...events.map((event) => `      { stream: { account: "$SYS", subject: ${event} } }`),
    "    ]",
    "  }",
    "  $SYS {",
    "    exports: [",
    ...events.map((event) => `      { stream: ${event}, accounts: [ ${quoted("account", ACCOUNT)} ] }`),
    "    ]",
  ];
  if (system !== undefined) {
    const password = setting("system password", system.password);
    lines.push(`    users: [ { user: ${quoted("system user", system.user)}, password: ${password} } ]`);
  }
  return [...lines, "  }", "}", `no_auth_user: ${quoted("user", ANYBODY)}`];
}

/**
 * The configuration file of one server.
 * @throws {ConfigValueError} A value cannot stand in the file.
 */
export function renderServerConfig(settings: ServerSettings): string {
  const { serverName, listen, storeDir, sync, mqtt, websocket, monitor, cluster, system } = settings;
  const lines = [
    `server_name: ${setting("server name", serverName)}`,
    `listen: ${address("client", listen)}`,
    `max_payload: ${MAX_PAYLOAD_BYTES}`,
    `max_pending: ${MAX_PENDING_BYTES}`,
    `write_deadline: ${quoted("write deadline", WRITE_DEADLINE)}`,
    "jetstream {",
    `  store_dir: ${setting("store directory", storeDir)}`,
    `  sync_interval: ${sync === "always" ? "always" : `"${DEFAULT_SYNC}"`}`,
    `  max_file_store: ${MAX_STORE_BYTES}`,
    "}",
  ];
  if (monitor !== undefined) lines.push(`http: ${address("monitor", monitor)}`);
  if (mqtt !== undefined) lines.push("mqtt {", `  listen: ${address("MQTT", mqtt)}`, "}");
  if (websocket !== undefined)
    lines.push("websocket {", `  listen: ${address("WebSocket", websocket)}`, "  no_tls: true", "}");
  if (cluster !== undefined) lines.push(...clusterLines(cluster));
  lines.push(...accountLines(system));
  return `${lines.join("\n")}\n`;
}

/** One server that somebody runs by hand: `NATS_STORE_DIR=… nats-server -c nats-config/server.conf`. */
export const SINGLE_SERVER: ServerSettings = {
  serverName: "troupe",
  listen: "127.0.0.1:4222",
  storeDir: { env: "NATS_STORE_DIR" },
  sync: "always",
  mqtt: "127.0.0.1:1883",
  monitor: "127.0.0.1:8222",
};

/** One of the three servers of `compose.yaml`. It listens on all addresses of its container; compose publishes on loopback. */
export const CLUSTER_MEMBER: ServerSettings = {
  serverName: { env: "NATS_SERVER_NAME" },
  listen: "0.0.0.0:4222",
  storeDir: { env: "NATS_STORE_DIR" },
  // Three copies stand in for the sync: a quorum acknowledged each message.
  sync: "interval",
  mqtt: "0.0.0.0:1883",
  monitor: "0.0.0.0:8222",
  cluster: {
    name: "troupe",
    listen: "0.0.0.0:6222",
    routes: ["nats://nats-1:6222", "nats://nats-2:6222", "nats://nats-3:6222"],
  },
};

/** The text of a committed configuration file. */
export function renderConfigFile(purpose: string, settings: ServerSettings): string {
  return `# ${purpose}\n# Rendered by server-config.ts: change it there. Variables come from the environment.\n${renderServerConfig(settings)}`;
}

export const CONFIG_FILES: Readonly<Record<string, string>> = {
  "server.conf": renderConfigFile(
    "A single NATS server for Troupe: loopback, every acknowledged message on the disk.",
    SINGLE_SERVER,
  ),
  "cluster.conf": renderConfigFile("One member of the three-server NATS cluster of compose.yaml.", CLUSTER_MEMBER),
};
