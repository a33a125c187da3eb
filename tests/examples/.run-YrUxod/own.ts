import * as troupe from "../../../index.ts";

const sound = troupe.defineSkill({
  id: "measure_sound",
  description: "Measures how loud it is",
  needsDevice: false,
  run: async (args, { invocationId, signal, clock }) => {
    signal.throwIfAborted(); // fires when the time is up, the lock is lost or the task is aborted
    const data = { invocationId, channel: args["channel"], db: -23 };
    return { status: "succeeded", output: data, evidence: [{ kind: "sound", at: clock.now(), data }] };
  },
});

const servers = process.env["NATS_URL"] ?? "nats://127.0.0.1:4222";
const client = await troupe.connect({ servers });
const { broker, names } = client;
const skills = new troupe.SkillRegistry([...troupe.builtInSkills, sound], { broker, names });
const kinds = [...troupe.systemKinds({ runSkill: skills.runSkill }), troupe.agentKind];
const node = await troupe.startNode({ name: "own", servers, kinds });
await troupe.startPumps({ node, broker, names, log: console });

const { id, plan } = await new troupe.AgentRegistry({ broker, names, skills: skills.facts }).register(`
metadata: { id: listener, name: Listener, version: 1.0.0, author: me, description: Listens }
goal: { type: continuous, description: It is loud enough }
triggers: { events: [{ type: build.deployed }], event_pools: [shared.builds] }
skills: [measure_sound]
playbook: [{ on: build.deployed, device: none, steps: [{ id: sound, skill: measure_sound, with: { channel: 5 } }] }]
`);
await client.ask(troupe.agentKind, id, { type: "deploy", plan });
