/** A node in a process of its own: `node-worker.ts <url> <name>`. */
import { crewKind } from "../../actors/crew.ts";
import { routerKind } from "../../actors/router.ts";
import { agentKind } from "../../agents/agent.ts";
import { startNode } from "../../runtime/node.ts";
import { counter, driver, hand, lasting, sleeper } from "./kinds.ts";
import { serve } from "./process.ts";

const [servers = "", name = "bench"] = process.argv.slice(2);
const begun = performance.now(); // counted from the start of the process
const node = await startNode({
  name,
  servers,
  kinds: [counter, sleeper, hand, lasting, driver, crewKind, agentKind, routerKind],
});
serve(
  { begun_ms: begun, start_node_ms: performance.now() - begun },
  {
    info: () => node.info(),
    gc: () => {
      // As the operating system asks for it: freed pages are given back, so that the process's memory is its data.
      globalThis.gc?.({ type: "major", execution: "sync", flavor: "last-resort" });
      return process.memoryUsage();
    },
    stop: () => node.stop(),
  },
);
