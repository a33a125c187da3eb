/**
 * A real nats-server for one test file. Invariant: every call gets a port and a store of its own, and `stop()` leaves
 * neither a process nor a directory behind; if the test process is killed, the server ends with it.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type EmbeddedServer, startEmbeddedServer } from "../../nats-config/embedded-server.ts";

export interface TestServer {
  readonly url: string;
  readonly mqttUrl: string;
  /** May listen to `$SYS`: `connect({ servers: url, ...systemUser })`. */
  readonly systemUser: { readonly user: string; readonly pass: string };
  /** The server itself: `embedded.pid` to kill it, `embedded.onRestart` to hear of its return. */
  readonly embedded: EmbeddedServer;
  stop(): Promise<void>;
}

export interface TestServerOptions {
  /** `always`: an fsync per acknowledgement, as in production; default `interval`, which is faster. */
  readonly sync?: "always" | "interval";
  readonly log?: (line: string) => void;
}

export async function startTestServer(options: TestServerOptions = {}): Promise<TestServer> {
  const dataDir = await mkdtemp(join(tmpdir(), "troupe-test-"));
  const remove = () => rm(dataDir, { recursive: true, force: true });
  try {
    const embedded = await startEmbeddedServer({ sync: "interval", ...options, dataDir, mqttPort: 0 });
    return {
      url: embedded.url,
      mqttUrl: embedded.mqttUrl ?? "",
      systemUser: embedded.systemUser,
      embedded,
      stop: async () => {
        await embedded.stop();
        await remove();
      },
    };
  } catch (error) {
    await remove();
    throw error;
  }
}
