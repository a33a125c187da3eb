/** One node of the whole system, as `troupe node` composes it. Invariant: it tells on stdout when it serves; SIGTERM drains it. */
import pino from "pino";
import { composeNode } from "../../../gateway/compose-node.ts";

function setting(name: string): string {
  const value = process.env[name];
  if (value === undefined || value === "") throw new Error(`The variable ${name} is missing: the harness sets it`);
  return value;
}

const running = await composeNode({
  name: setting("FAULT_NODE"),
  servers: [setting("FAULT_SERVERS")],
  namespace: setting("FAULT_NAMESPACE"),
  labels: {},
  log: pino({ level: "info" }, pino.destination(2)),
});
process.once("SIGTERM", () => {
  void running.stop().then(() => process.exit(0));
});
process.stdout.write(`${JSON.stringify({ up: running.node.incarnation, pid: process.pid })}\n`);
