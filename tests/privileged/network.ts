/**
 * Hosts as network namespaces: a switch between them whose ports a test can cut, and a line of its own from the test to each, which
 * is never cut. Needs Linux and root. Invariant: `stop()`, and the end of this process, leave no namespace behind; those of a
 * process that was killed are removed by the next.
 */
import { execFileSync } from "node:child_process";
import type { ServerHost } from "../fault/support/nats-cluster.ts";

/** Between the hosts; nobody else sees it. */
const SWITCH_NET = "10.0.0";
/** Between the test and the hosts: set aside for tests of networks (RFC 2544). */
const TEST_NET = "198.18";
const OURS = /^troupe-(\d+)-/;

/** How a host is parted from the others. */
export type Cut =
  /** Its cable is pulled. */
  | "off"
  /** It hears the others, and they do not hear it. */
  | "mute"
  /** They hear it, and it does not hear them. */
  | "deaf";

export interface Host extends ServerHost {
  readonly name: string;
}

function ip(...args: readonly string[]): string {
  return tool("ip", args);
}

function tool(name: string, args: readonly string[]): string {
  try {
    return execFileSync(name, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  } catch (cause) {
    const { code, stderr } = cause as { code?: string; stderr?: string };
    const why = code === "ENOENT" ? "it is not installed: the package is iproute2" : (stderr ?? "").trim();
    throw new Error(`Command "${[name, ...args].join(" ")}" failed: ${why}`, { cause });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as { code?: string }).code === "EPERM";
  }
}

const namespaces = (): string[] =>
  ip("netns", "list")
    .split("\n")
    .map((line) => line.split(" ")[0] ?? "")
    .filter((name) => OURS.test(name));

export class Network {
  readonly hosts: readonly Host[];
  readonly #namespaces: string[] = [];
  readonly #onExit = () => this.stop();

  private constructor(names: readonly string[]) {
    process.once("exit", this.#onExit);
    const middle = this.#namespace("switch");
    ip("-n", middle, "link", "add", "switch", "type", "bridge");
    ip("-n", middle, "link", "set", "dev", "switch", "up");
    const net = freeNet();
    this.hosts = names.map((name, i) => this.#host(name, i + 1, net));
  }

  /** @throws Not root, or no tools: the message says which. */
  static start(names: readonly string[]): Network {
    if (process.getuid?.() !== 0)
      throw new Error('Network namespaces need root: run "npm run test:privileged" as root');
    for (const name of namespaces()) if (!isAlive(Number(OURS.exec(name)?.[1]))) ip("netns", "del", name);
    return new Network(names);
  }

  cut(host: string, how: Cut): void {
    const [inside, outside] = [this.#name(host), this.#name("switch")];
    if (how === "off") ip("-n", outside, "link", "set", "dev", host, "down");
    // What is sent there from now on is dropped, and its sender does not hear of it.
    if (how === "mute") tool("tc", ["-n", inside, "qdisc", "add", "dev", "eth0", "root", "blackhole"]);
    if (how === "deaf") tool("tc", ["-n", outside, "qdisc", "add", "dev", host, "root", "blackhole"]);
  }

  heal(host: string, how: Cut): void {
    const [inside, outside] = [this.#name(host), this.#name("switch")];
    if (how === "off") ip("-n", outside, "link", "set", "dev", host, "up");
    if (how === "mute") tool("tc", ["-n", inside, "qdisc", "del", "dev", "eth0", "root"]);
    if (how === "deaf") tool("tc", ["-n", outside, "qdisc", "del", "dev", host, "root"]);
  }

  stop(): void {
    process.off("exit", this.#onExit);
    for (const name of this.#namespaces.splice(0)) ip("netns", "del", name);
  }

  #host(name: string, number: number, net: string): Host {
    const namespace = this.#namespace(name);
    const route = `${SWITCH_NET}.${number}`;
    const [here, address] = [`${net}.${4 * number + 1}`, `${net}.${4 * number + 2}`];
    const line = `tr${process.pid}-${number}`;
    ip("-n", namespace, "link", "set", "dev", "lo", "up");
    ip("-n", namespace, "link", "add", "eth0", "type", "veth", "peer", "name", name, "netns", this.#name("switch"));
    ip("-n", namespace, "addr", "add", `${route}/24`, "dev", "eth0");
    ip("-n", this.#name("switch"), "link", "set", "dev", name, "master", "switch");
    ip("link", "add", line, "type", "veth", "peer", "name", "test", "netns", namespace);
    ip("addr", "add", `${here}/30`, "dev", line);
    ip("-n", namespace, "addr", "add", `${address}/30`, "dev", "test");
    ip("-n", namespace, "link", "set", "dev", "eth0", "up");
    ip("-n", namespace, "link", "set", "dev", "test", "up");
    ip("-n", this.#name("switch"), "link", "set", "dev", name, "up");
    ip("link", "set", "dev", line, "up");
    return { name, run: ["ip", "netns", "exec", namespace], address, route };
  }

  #name(of: string): string {
    return `troupe-${process.pid}-${of}`;
  }

  #namespace(of: string): string {
    const name = this.#name(of);
    ip("netns", "add", name);
    this.#namespaces.push(name);
    return name;
  }
}

/** A part of the test net that no interface has. */
function freeNet(): string {
  const taken = ip("-4", "addr", "show");
  for (let i = 0; i < 256; i++) {
    const net = `${TEST_NET}.${(process.pid + i) % 256}`;
    if (!taken.includes(` ${net}.`)) return net;
  }
  throw new Error(`Every part of ${TEST_NET}.0.0/16 is in use: end the other runs`);
}
