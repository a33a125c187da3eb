/**
 * What every broker must do: each sentence of `runtime/port.ts` as a test. Invariant: both implementations run all of it,
 * so what is proven on the in-memory twin holds on NATS.
 */
import { afterEach, beforeEach, describe } from "vitest";
import { type Bench, type ContractWorld, makeBench } from "./bench.ts";
import { appendContract } from "./broker-append.contract.ts";
import { coreContract } from "./broker-core.contract.ts";
import { expiryContract } from "./broker-expiry.contract.ts";
import { readContract } from "./broker-read.contract.ts";
import { streamingContract } from "./broker-streaming.contract.ts";

/** Longest that one test may take on a real server, in ms: some wait for times to live. */
const TEST_TIMEOUT_MS = 20_000;

export function brokerContract(name: string, makeWorld: () => ContractWorld): void {
  describe(`Broker on ${name}`, { timeout: TEST_TIMEOUT_MS }, () => {
    let bench: Bench;
    beforeEach(async () => {
      bench = await makeBench(makeWorld());
    });
    afterEach(async () => {
      await bench.broker.close();
      await bench.other.close();
      await bench.world.close();
    });
    const current = () => bench;
    coreContract(current);
    appendContract(current);
    expiryContract(current);
    readContract(current);
    streamingContract(current);
  });
}
