/** A node with locks in a process of its own: `lock-worker.ts <url> <name>`. */
import { systemKinds } from "../../actors/index.ts";
import { leaseWriter } from "../../actors/lease-store.ts";
import { makeNames } from "../../nats-config/subjects.ts";
import { startNode } from "../../runtime/node.ts";
import { connectBroker } from "../../runtime/port-nats.ts";
import { serve } from "./process.ts";

const [servers = "", name = "locks"] = process.argv.slice(2);
const broker = await connectBroker({ servers });
const nothing = () => Promise.reject(new Error("The bench runs no skill"));
const kinds = systemKinds({
  runSkill: nothing,
  stopSkill: nothing,
  writeLease: leaseWriter({ broker, names: makeNames() }),
});
const node = await startNode({ name, servers, kinds });
serve(
  {},
  {
    stop: async () => {
      await node.stop();
      await broker.close();
    },
  },
);
