/** The NATS server that a local cluster runs on: our own child, or the one that NATS_URL names. Invariant: its addresses do not change while it runs. */
import { type EmbeddedServer, startEmbeddedServer } from "../../nats-config/embedded-server.ts";
import { PortTakenError } from "../../nats-config/errors.ts";
import { isPortFree } from "../../nats-config/ports.ts";
import { natsDir } from "../commands/context.ts";

/** The ports that people and tools try first. */
const NATS_PORT = 4_222;
const MQTT_PORT = 1_883;

export interface LocalNats {
  readonly url: string;
  readonly mqttUrl: string | null;
  readonly pid: number | null;
  stop(): Promise<void>;
}

export interface LocalNatsOptions {
  readonly dataDir: string;
  /** Servers that run already. */
  readonly named: readonly string[] | undefined;
  readonly log: (line: string) => void;
  readonly onChange: (state: "up" | "down", note: string, pid: number) => void;
}

export async function startLocalNats(options: LocalNatsOptions): Promise<LocalNats> {
  if (options.named !== undefined)
    return { url: options.named.join(","), mqttUrl: null, pid: null, stop: () => Promise.resolve() };
  const server = await startEmbedded(options, await preferred(NATS_PORT), await preferred(MQTT_PORT));
  server.onRestart((pid) => options.onChange("up", `up again (pid ${pid})`, pid));
  server.onFailure((error) => options.onChange("down", error.message, server.pid));
  return { url: server.url, mqttUrl: server.mqttUrl ?? null, pid: server.pid, stop: () => server.stop() };
}

/** The usual port if nobody has it; 0 takes the one of the last start, or any free one. */
const preferred = async (port: number): Promise<number> => ((await isPortFree(port)) ? port : 0);

async function startEmbedded(
  { dataDir, log }: LocalNatsOptions,
  port: number,
  mqttPort: number,
): Promise<EmbeddedServer> {
  try {
    return await startEmbeddedServer({ dataDir: natsDir(dataDir), port, mqttPort, log });
  } catch (error) {
    if (!(error instanceof PortTakenError)) throw error;
    // Somebody was faster since we looked.
    return await startEmbeddedServer({ dataDir: natsDir(dataDir), port: 0, mqttPort: 0, log });
  }
}
