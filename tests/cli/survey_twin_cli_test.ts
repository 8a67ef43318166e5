/** A survey of a twin of 300 nodes over real TCP: two processes of the compiled program, and files that hold the truth. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { signingKey } from "../../overlay/crypto/primitives.ts";
import { encodeNodeId, encodeSecretSeed } from "../../overlay/crypto/strkey.ts";
import { readSurvey } from "../../survey/topology/formats.ts";
import type { SurveyDocument } from "../../survey/topology/types.ts";
import type { SurveyTruth } from "../../survey/twin/survey_truth.ts";
import { startTool, temporaryFolder } from "../kit/tool.ts";

const SEED = new Uint8Array(32).fill(0x3c);
const SURVEYOR = encodeNodeId(signingKey(SEED).publicKey);

/** Rows of a CSV file by column name. No field of these files that is looked at here has a comma in it. */
function csvRows(text: string): Record<string, string>[] {
  const [head, ...rows] = text.trimEnd().split(/\r?\n/).map((line) => line.match(/("([^"]|"")*"|[^,]*)(,|$)/g)!);
  const field = (raw: string | undefined) => (raw ?? "").replace(/,$/, "").replace(/^"|"$/g, "");
  return rows.map((row) => Object.fromEntries(head.map((name, i) => [field(name), field(row[i])])));
}

/** Links without the surveyor, `dialer > dialed`, sorted, each once. */
function linksOfLists({ nodes }: SurveyDocument): string[] {
  const links = new Set<string>();
  for (const [id, { inboundPeers, outboundPeers }] of nodes) {
    for (const peer of inboundPeers) links.add(`${peer.nodeId} > ${id}`);
    for (const peer of outboundPeers) links.add(`${id} > ${peer.nodeId}`);
  }
  return [...links].filter((link) => !link.includes(SURVEYOR)).sort();
}

test("survey run surveys simulate --nodes 300 over TCP, and every file it writes holds the twin's truth", async () => {
  const folder = temporaryFolder();
  const seedFile = join(folder, "seed"), truthFile = join(folder, "truth.json"), out = join(folder, "out");
  writeFileSync(seedFile, encodeSecretSeed(SEED) + "\n", { mode: 0o600 });
  const network = [
    "--nodes",
    "300",
    "--seed",
    "twin-survey",
    "--ledger-ms",
    "1000",
    "--validators",
    "1",
    "--dials",
    "1",
  ];
  const roles = ["--hubs", "2", "--late", "5", "--opt-out", "3", "--restarting", "2", "--lagging", "10"];
  // It ends by itself, whatever becomes of the test.
  const simulate = startTool(
    ["simulate", ...network, ...roles, "--surveyor-key", SURVEYOR, "--truth", truthFile, "--duration", "4m", "--json"],
    { limitMs: 260_000 },
  );
  try {
    await simulate.saw('"seeds"');
    const started = JSON.parse(simulate.out());
    assert.deepEqual(started.survey, { late: 5, optedOut: 3, restarting: 2, lagging: 10 });
    const truth: SurveyTruth = JSON.parse(readFileSync(truthFile, "utf8")).survey;
    const withState = (state: string) => truth.nodes.filter((node) => node.state === state).map((node) => node.nodeId);
    const late = withState("late"), answering = withState("answers");
    assert.ok(answering.length > 150 && late.length === 5 && truth.pages > answering.length + started.seeds.length - 3);
    // Who came late is known from elsewhere, as from a crawl.
    const nodesFile = join(folder, "nodes");
    writeFileSync(nodesFile, late.join("\n") + "\n");

    const survey = startTool([
      ...["survey", "run", ...started.seeds, "--network", "local", "--seed-file", seedFile, "--db", join(folder, "db")],
      ...["--nodes", nodesFile, "--collect", "8s", "--settle", "3s", "--out", out, "--json"],
    ], { limitMs: 200_000 });
    await survey.saw("survey: collecting");
    await simulate.saw(/after START 5 nodes joined and 2 restarted\n/);
    assert.ok(
      !survey.err().includes("survey: sending STOP"),
      "the machine is too slow: STOP came before the late nodes",
    );
    const { status, out: text, err } = await survey.done;
    assert.equal(status, 0, err);

    const result = JSON.parse(text);
    const silent = withState("silent").length;
    assert.equal(result.schema, "stellar-overlay/survey/1");
    assert.equal(result.phase, "done");
    assert.deepEqual([result.answered, result.silent, result.bad], [answering.length, silent, 0]);
    assert.equal(result.asked, answering.length + silent + late.length);
    assert.equal(result.links, truth.links.length + started.seeds.length);
    assert.deepEqual(readdirSync(out).sort(), [
      "graph.graphml",
      "links.csv",
      "nodes.csv",
      "result.json",
      "survey.json",
    ]);

    const links = truth.links.map(({ from, to }) => `${from} > ${to}`).sort();
    for (const name of ["survey.json", "result.json"]) {
      const { document } = readSurvey(readFileSync(join(out, name), "utf8"), name);
      assert.deepEqual([...document.nodes.keys()].filter((id) => id !== SURVEYOR).sort(), [...answering].sort(), name);
      assert.deepEqual(linksOfLists(document), links, name);
      for (const { nodeId, isValidator, answer } of truth.nodes) {
        if (answer === undefined) continue;
        const { data, inboundPeers, outboundPeers } = document.nodes.get(nodeId)!;
        const ids = (peers: typeof inboundPeers) =>
          peers.map((peer) => peer.nodeId).filter((id) => id !== SURVEYOR).sort();
        const surveyors = inboundPeers.length - ids(inboundPeers).length;
        assert.deepEqual(
          { ...answer, isValidator, numTotalInboundPeers: answer.inboundPeers.length + surveyors },
          {
            inboundPeers: ids(inboundPeers),
            outboundPeers: ids(outboundPeers),
            addedAuthenticatedPeers: data.addedAuthenticatedPeers,
            droppedAuthenticatedPeers: data.droppedAuthenticatedPeers,
            lostSyncCount: data.lostSyncCount,
            maxInboundPeerCount: data.maxInboundPeerCount,
            maxOutboundPeerCount: data.maxOutboundPeerCount,
            isValidator: data.isValidator,
            numTotalInboundPeers: data.numTotalInboundPeers,
          },
          `${nodeId} in ${name}`,
        );
      }
    }
    const { document } = readSurvey(readFileSync(join(out, "survey.json"), "utf8"), "survey.json");
    assert.deepEqual([...document.lateJoiners].sort(), [...late].sort());
    assert.equal(document.surveyor, SURVEYOR);
    for (const node of truth.nodes) {
      const wanted = { answers: "answered", silent: "silent", late: "unreachable", unseen: undefined }[node.state];
      assert.equal(document.states.get(node.nodeId), wanted, node.name);
    }

    const graph = readFileSync(join(out, "graph.graphml"), "utf8");
    const edges = [...graph.matchAll(/<edge [^>]*source="(G\w+)" target="(G\w+)"/g)].map(([, from, to]) =>
      `${from} > ${to}`
    );
    assert.deepEqual(edges.filter((edge) => !edge.includes(SURVEYOR)).sort(), links);
    const nodeRows = new Map(csvRows(readFileSync(join(out, "nodes.csv"), "utf8")).map((row) => [row.nodeId, row]));
    for (const { nodeId, versionStr, answer } of truth.nodes) {
      const row = nodeRows.get(nodeId);
      if (answer === undefined) continue;
      assert.equal(row?.state, "answered");
      assert.equal(row.numTotalOutboundPeers, String(answer.outboundPeers.length));
      if (/^[ -~]*$/.test(versionStr)) assert.equal(row.version, versionStr);
    }
    for (const id of late) {
      assert.deepEqual([nodeRows.get(id)?.state, nodeRows.get(id)?.isLateJoiner], ["unreachable", "true"]);
    }
    const linkRows = csvRows(readFileSync(join(out, "links.csv"), "utf8"));
    const told = linkRows.map(({ nodeId, peerId, dialed }) =>
      dialed === "nodeDialedPeer" ? `${nodeId} > ${peerId}` : `${peerId} > ${nodeId}`
    );
    assert.deepEqual([...new Set(told)].filter((link) => !link.includes(SURVEYOR)).sort(), links);
    assert.deepEqual([...new Set(linkRows.map((row) => row.disagreements))], [""]);
  } finally {
    // Unless it failed at once.
    if (simulate.out() !== "") simulate.signal("SIGINT");
    await simulate.done;
  }
});
