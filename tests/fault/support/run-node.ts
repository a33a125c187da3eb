/** What a node process of a fault run does. Invariant: it tells on stdout when it serves; logs go to stderr; SIGTERM drains it. */
import pino from "pino";
import type { ActorKind } from "../../../runtime/define-actor.ts";
import { startNode } from "../../../runtime/node.ts";

export function setting(name: string): string {
  const value = process.env[name];
  if (value === undefined || value === "") throw new Error(`The variable ${name} is missing: the harness sets it`);
  return value;
}

export async function runNode(kinds: readonly ActorKind[]): Promise<void> {
  const node = await startNode({
    name: setting("FAULT_NODE"),
    servers: setting("FAULT_SERVERS"),
    namespace: setting("FAULT_NAMESPACE"),
    replicas: Number(setting("FAULT_REPLICAS")),
    standby: setting("FAULT_STANDBY") === "true",
    kinds,
    log: pino({ level: "info" }, pino.destination(2)),
  });
  process.once("SIGTERM", () => {
    void node.stop().then(() => process.exit(0));
  });
  process.stdout.write(`${JSON.stringify({ up: node.incarnation, pid: process.pid })}\n`);
}
