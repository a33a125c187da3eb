/** The processes of a local cluster, as data. Invariant: each is an ordinary `troupe` command that could be started by hand. */
import { LAB_HOSTS } from "../lab/hosts.ts";
import type { PartSpec } from "./part.ts";

/** Two from the first day: what works with one node alone does not work. */
export const NODE_NAMES = ["node1", "node2"] as const;

export interface ClusterPlan {
  readonly namespace: string;
  readonly deviceRoot: string;
  /** 0: any free one. */
  readonly port: number;
  readonly labDir: string;
  readonly seed: number | undefined;
  readonly lab: boolean;
}

export interface ClusterParts {
  readonly nodes: readonly PartSpec[];
  readonly gateway: PartSpec;
  readonly labs: readonly PartSpec[];
}

/** The port of an address like http://127.0.0.1:8080. */
const portOf = (url: unknown): number | undefined => (typeof url === "string" ? Number(new URL(url).port) : undefined);

export function clusterParts(plan: ClusterPlan): ClusterParts {
  const where = ["--namespace", plan.namespace, "--device-root", plan.deviceRoot];
  const seed = plan.seed === undefined ? [] : ["--seed", String(plan.seed)];
  return {
    nodes: NODE_NAMES.map((name) => ({ name, args: () => ["node", "--name", name, ...where] })),
    gateway: {
      name: "gateway",
      // It comes back at the port that people have open.
      args: (before) => ["gateway", "--port", String(portOf(before?.["url"]) ?? plan.port), ...where],
    },
    labs: !plan.lab
      ? []
      : LAB_HOSTS.map(({ name }) => ({
          name: `lab ${name}`,
          // After a restart the plan goes on and does not begin with a black screen again.
          args: (before) => [
            "lab",
            "--host",
            name,
            "--data",
            plan.labDir,
            ...seed,
            ...(before === undefined ? [] : ["--first-incident", "15s"]),
            ...where,
          ],
        })),
  };
}
