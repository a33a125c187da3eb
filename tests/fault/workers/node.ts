/** One node process of a fault run, of a release. */
import { kindsOf } from "../support/kinds.ts";
import { runNode, setting } from "../support/run-node.ts";

await runNode(kindsOf(Number(setting("FAULT_RELEASE"))));
