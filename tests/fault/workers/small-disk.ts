/** nats-server on the disk that the harness mounted for this process. Invariant: it ends with its standard input. */
import { startEmbeddedServer } from "../../../nats-config/embedded-server.ts";

const dataDir = process.argv[2];
if (dataDir === undefined) throw new Error("The data directory is missing: the harness names it");
const server = await startEmbeddedServer({ dataDir, sync: "always", log: (line) => process.stderr.write(`${line}\n`) });
process.stdout.write(`${JSON.stringify({ url: server.url })}\n`);
process.stdin.resume().once("end", () => {
  void server.stop().then(() => process.exit(0));
});
