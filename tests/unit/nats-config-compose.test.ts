import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { CLUSTER_MEMBER } from "../../nats-config/server-config.ts";

interface Service {
  readonly image: string;
  readonly command: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly volumes?: readonly string[];
  readonly ports?: readonly string[];
  readonly healthcheck?: { readonly test: readonly string[]; readonly interval: string; readonly retries: number };
  readonly depends_on?: Readonly<Record<string, unknown>>;
}

const read = (name: string) => readFileSync(fileURLToPath(new URL(`../../${name}`, import.meta.url)), "utf8");
const compose = parse(read("compose.yaml"), { merge: true }) as {
  readonly services: Readonly<Record<string, Service>>;
  readonly volumes: Readonly<Record<string, null>>;
};
const servers = Object.entries(compose.services).filter(([, service]) => service.image.startsWith("nats:"));
const ours = Object.entries(compose.services).filter(([, service]) => service.image === "troupe:local");

describe("compose.yaml", () => {
  test("has three NATS servers, two nodes and one gateway", () => {
    expect(servers.map(([name]) => name)).toEqual(["nats-1", "nats-2", "nats-3"]);
    expect(ours.map(([name, { command }]) => [name, command[0]])).toEqual([
      ["node-1", "node"],
      ["node-2", "node"],
      ["gateway", "gateway"],
    ]);
  });

  test.each(servers)("runs %s on the tested cluster.conf, with a name and a store of its own", (name, service) => {
    expect(service.image).toMatch(/^nats:2\.(1[4-9]|[2-9]\d)/);
    expect(service.command).toEqual(["-c", "/etc/nats/cluster.conf"]);
    expect(service.volumes).toEqual(["./nats-config/cluster.conf:/etc/nats/cluster.conf:ro", `${name}:/data`]);
    expect(compose.volumes).toHaveProperty(name);
    expect(service.environment).toEqual({ NATS_SERVER_NAME: name, NATS_STORE_DIR: "/data" });
    expect(CLUSTER_MEMBER.cluster?.routes).toContain(`nats://${name}:6222`);
  });

  test("sets every variable that cluster.conf reads", () => {
    const variables = [...read("nats-config/cluster.conf").matchAll(/: \$([A-Z_]+)/g)].map(([, name]) => name);
    expect(new Set(variables)).toEqual(new Set(Object.keys(servers[0]?.[1].environment ?? {})));
  });

  test.each(Object.entries(compose.services))("gives %s a health check that ends", (_, { healthcheck }) => {
    expect(healthcheck).toEqual({
      test: expect.arrayContaining(["CMD"]) as string[],
      interval: expect.stringMatching(/^\d+s$/) as string,
      timeout: expect.stringMatching(/^\d+s$/) as string,
      retries: expect.any(Number) as number,
    });
  });

  test.each(ours)("starts %s once all servers are healthy, and tells it where they are", (_, service) => {
    for (const [name] of servers) {
      expect(service.depends_on?.[name]).toEqual({ condition: "service_healthy" });
      expect(service.environment["NATS_URL"]).toContain(`nats://${name}:4222`);
    }
    expect(service.environment["TROUPE_REPLICAS"]).toBe(String(servers.length));
  });

  test("publishes on loopback unless told otherwise", () => {
    const ports = Object.values(compose.services).flatMap((service) => service.ports ?? []);
    expect(ports).toHaveLength(3);
    for (const port of ports) expect(port).toMatch(/^\$\{TROUPE_BIND:-127\.0\.0\.1\}:/);
  });

  test("reads only variables that .env.example explains", () => {
    const used = [...read("compose.yaml").matchAll(/\$\{(\w+):-([^}]*)\}/g)];
    const example = read(".env.example");
    expect(used.length).toBeGreaterThan(0);
    for (const [, name, fallback] of used) expect(example).toContain(`\n${name}=${fallback}\n`);
  });

  test("names images by name and version only", () => {
    const images = [...read("Dockerfile").matchAll(/^FROM (\S+)/gm)].map(([, image]) => image);
    for (const image of [...images, ...servers.map(([, service]) => service.image)])
      expect(image).toMatch(/^[a-z]+:[\w.-]+$/);
  });
});
