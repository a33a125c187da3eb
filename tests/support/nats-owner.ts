/** A process that owns an embedded server and does nothing else, for tests that kill the owner. Prints its addresses and ids as one JSON line. */
import { startEmbeddedServer } from "../../nats-config/embedded-server.ts";

const [dataDir = "", stopAt = ""] = process.argv.slice(2);
const server = await startEmbeddedServer({ dataDir });
if (stopAt === "exit") process.once("SIGUSR2", () => process.exit(0));
console.log(JSON.stringify({ url: server.url, pid: server.pid }));
process.stdin.resume();
