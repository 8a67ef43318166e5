/** `survey ... --via` through its command line: the recorded bodies in virtual time, errors, and the program over real HTTP. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Command } from "commander";
import { addSurvey } from "../../cli/commands/survey.ts";
import type { CliContext, ExitCode } from "../../cli/context.ts";
import { VirtualClock } from "../../overlay/base/clock.ts";
import { type FailureCode, isFailure } from "../../overlay/base/errors.ts";
import { SeededRandom } from "../../overlay/base/random.ts";
import type { HttpOutcome } from "../../survey/core_http/http_get.ts";
import {
  CoreHttpServer,
  type CoreReply,
  type CoreRequest,
  parseTarget,
  recorded,
  RECORDED_NOBODY,
  RECORDED_SELF,
  recordedNode,
} from "../kit/core_http_server.ts";
import { readSurvey } from "../../survey/topology/formats.ts";
import type { NetworkModel } from "../../survey/topology/planner_test_kit.ts";
import { parseSurveyResult } from "../../survey/topology/survey_result.ts";
import { type CoreModelOptions, coreNetwork, CoreSurveyModel } from "../kit/core_survey_model.ts";
import { runTool, temporaryFolder } from "../kit/tool.ts";

/** A command line in this process, in virtual time, whose HTTP goes to `answer`. */
class Line {
  readonly clock = new VirtualClock();
  readonly folder = temporaryFolder();
  interruption = new AbortController();
  readonly requests: string[] = [];
  out = "";
  err = "";
  /** Looked at after every request. */
  onRequest: ((command: string) => void) | undefined;

  constructor(readonly answer: (request: CoreRequest) => CoreReply | HttpOutcome) {}

  async run(...args: string[]): Promise<ExitCode> {
    let status: ExitCode | undefined;
    const program = new Command().exitOverride();
    addSurvey(program, async (run) => void (status = await run(this.#context())));
    const running = program.parseAsync(["survey", ...args, "--db", join(this.folder, "db")], { from: "user" });
    let done = false;
    running.finally(() => void (done = true)).catch(() => {});
    // Modules load and files are opened in real time; virtual time passes meanwhile, and nobody minds.
    while (!done) {
      await new Promise((resolve) => setTimeout(resolve, 0));
      await this.clock.advance(1000);
    }
    await running;
    return status!;
  }

  #context(): CliContext {
    const { clock } = this;
    return {
      io: {
        out: (text: string) => void (this.out += text),
        err: (text: string) => void (this.err += text),
        outIsTerminal: false,
        errIsTerminal: false,
        inIsTerminal: false,
        outColour: false,
        errColour: false,
      },
      clock,
      random: new SeededRandom(1),
      env: {},
      signal: this.interruption.signal,
      httpGet: (to: { path: string }) => {
        const request = parseTarget(to.path);
        this.requests.push(to.path.slice(1));
        const reply = this.answer(request);
        this.onRequest?.(request.command);
        if (typeof reply === "string") {
          return Promise.resolve({ kind: "answer", status: 200, contentType: "application/json", body: reply });
        }
        return Promise.resolve("kind" in reply ? reply : { kind: "answer", contentType: "", ...reply });
      },
    } as unknown as CliContext;
  }
}

type Recorded = Record<string, number | boolean | null | Record<string, string | number>[]>;
const TOPOLOGY: Record<string, Recorded | null> = JSON.parse(recorded("survey-result.json")).topology;
const RECORDER = "GCKWVKJT4RHYNDLECJC72Z4XV57J2DVYBI2WERT2X3ZSKP7TZYFMN6ST";

/** Scalar figures of a recorded node. */
function figuresOf(node: Recorded): [string, string][] {
  return Object.entries(node).filter(([, value]) => typeof value !== "object").map((
    [name, value],
  ) => [name, String(value)]);
}

/** Every report of a link in the recording: who says it, about whom, and who dialed. */
const REPORTS = Object.entries(TOPOLOGY).flatMap(([node, data]) =>
  (["inboundPeers", "outboundPeers"] as const).flatMap((list) =>
    ((data?.[list] ?? []) as Record<string, string | number>[]).map((report) => {
      const { nodeId, version, ...counters } = report;
      const [from, to] = list === "inboundPeers" ? [nodeId, node] : [node, nodeId];
      return { node, peer: String(nodeId), version, counters, edge: `${from} ${to}` };
    })
  )
);

function rowsOf(csv: string): Record<string, string>[] {
  const [head, ...rows] = csv.trim().split(/\r?\n/).map((row) => row.split(","));
  return rows.map((row) => Object.fromEntries(head.map((name, i) => [name, row[i]])));
}

test("survey run --via writes what stellar-core recorded into every file", { timeout: 60_000 }, async () => {
  const line = new Line(recordedNode());
  const nodes = join(line.folder, "nodes"), out = join(line.folder, "out");
  writeFileSync(nodes, `${RECORDED_NOBODY} # does not exist\n`);
  const flags = "run --via 127.0.0.1 --collect 5m --json".split(" ");
  assert.equal(await line.run(...flags, "--nodes", nodes, "--out", out), 0, line.err);
  const file = (name: string) => readFileSync(join(out, name), "utf8");

  const printed = JSON.parse(line.out);
  const { schema, phase, asked, answered, silent, unreachable, bad, links, surveyor, via } = printed;
  assert.deepEqual({ schema, phase, asked, answered, silent, unreachable, bad, links, surveyor, via }, {
    schema: "stellar-overlay/survey/1",
    phase: "done",
    // Five nodes, the one that does not exist, and the recorder, which was connected when the peers were recorded.
    asked: 7,
    answered: 5,
    silent: 1,
    unreachable: 1,
    bad: 0,
    links: new Set(REPORTS.map((report) => report.edge)).size,
    surveyor: RECORDED_SELF,
    via: "127.0.0.1",
  });
  assert.equal(line.requests.filter((request) => request.startsWith("startsurveycollecting?nonce=")).length, 1);
  assert.ok(line.requests.includes(`startsurveycollecting?nonce=${printed.nonce}`));

  assert.deepEqual(JSON.parse(file("result.json")), {
    backlog: null,
    badResponseNodes: null,
    surveyInProgress: false,
    topology: { ...TOPOLOGY, [RECORDER]: null },
  });

  const known = parseSurveyResult(recorded("survey-result.json"), "recorded").topology!;
  const survey = readSurvey(file("survey.json"), "survey.json").document;
  assert.deepEqual(
    [...survey.nodes].sort(([a], [b]) => a < b ? -1 : 1),
    [...known].filter(([, node]) => node !== null).sort(([a], [b]) => a < b ? -1 : 1),
  );
  assert.equal(survey.states.get(RECORDED_NOBODY), "unreachable");

  const xml = file("graph.graphml");
  const keys = new Map([...xml.matchAll(/<key id="(\w+)" for="\w+" attr.name="(\w+)"/g)].map((m) => [m[1], m[2]]));
  const dataOf = (body: string) =>
    Object.fromEntries([...body.matchAll(/<data key="(\w+)">([^<]*)</g)].map((m) => [keys.get(m[1])!, m[2]]));
  const drawn = new Map([...xml.matchAll(/<node id="(\w+)">([\s\S]*?)<\/node>/g)].map((m) => [m[1], dataOf(m[2])]));
  for (const [id, node] of Object.entries(TOPOLOGY)) {
    if (node === null) continue;
    for (const [name, value] of figuresOf(node)) assert.equal(drawn.get(id)?.[name], value, `${id} ${name}`);
  }
  const edges = [...xml.matchAll(/<edge source="(\w+)" target="(\w+)">([\s\S]*?)<\/edge>/g)];
  assert.deepEqual(
    edges.map((m) => `${m[1]} ${m[2]}`).sort(),
    [...new Set(REPORTS.map((report) => report.edge))].sort(),
  );
  for (const [, source, target, body] of edges) {
    const { reportedBy, ...counters } = dataOf(body);
    const node = reportedBy === "source" ? source : target;
    const report = REPORTS.find((report) => report.edge === `${source} ${target}` && report.node === node)!;
    assert.deepEqual(counters, Object.fromEntries(Object.entries(report.counters).map(([k, v]) => [k, String(v)])));
  }

  const rows = new Map(rowsOf(file("nodes.csv")).map((row) => [row.nodeId, row]));
  assert.deepEqual([...rows.keys()].sort(), [...Object.keys(TOPOLOGY), RECORDER].sort());
  for (const [id, node] of Object.entries(TOPOLOGY)) {
    for (const [name, value] of node === null ? [] : figuresOf(node)) assert.equal(rows.get(id)?.[name], value, name);
  }

  const reports = rowsOf(file("links.csv"));
  assert.equal(reports.length, REPORTS.length);
  for (const { node, peer, version, counters } of REPORTS) {
    const row = reports.find((row) => row.nodeId === node && row.peerId === peer)!;
    assert.equal(row.peerVersion, version);
    const { averageLatencyMs, ...others } = counters;
    assert.equal(row.medianPingMs, String(averageLatencyMs));
    for (const [name, value] of Object.entries(others)) assert.equal(row[name], String(value), name);
  }
});

/** A node of a known network behind a command line. */
function lineOfModel(
  options: Partial<CoreModelOptions> = {},
): { line: Line; model: CoreSurveyModel; network: NetworkModel } {
  const network = coreNetwork(new SeededRandom(1), { nodes: 40, target: 5, hubs: 1 });
  const line: Line = new Line((request) => model.answer(request));
  const model = new CoreSurveyModel({ clock: line.clock, network, self: [...network.keys()][3], ...options });
  return { line, model, network };
}

test("survey --via stops where the node says that another survey is active", { timeout: 30_000 }, async () => {
  const { line, model } = lineOfModel();
  model.foreignSurvey("reporting");
  assert.equal(await line.run("run", "--via", "127.0.0.1:11626"), 1);
  assert.match(line.err, /survey_active/);
  assert.equal(line.requests.filter((request) => /^stopsurvey|^surveytopology/.test(request)).length, 0);
});

test("survey --via names what it meets instead of a stellar-core that can survey", { timeout: 30_000 }, async () => {
  const answers: [CoreReply | HttpOutcome, FailureCode][] = [
    [{ kind: "unreachable", reason: "ECONNREFUSED" }, "core_unreachable"],
    [{ kind: "timeout" }, "core_timeout"],
    [{ status: 200, contentType: "text/html", body: "<html></html>" }, "not_stellar_core"],
    [{ status: 404, contentType: "text/html", body: recorded("unknown-command.txt") }, "core_unknown_command"],
    [{ status: 502, contentType: "text/html", body: "" }, "core_http_status"],
    ['{"exception": "generic"}', "core_exception"],
  ];
  for (const [answer, code] of answers) {
    const line = new Line(() => answer);
    await assert.rejects(line.run("run", "--via", "127.0.0.1"), isFailure(code), code);
  }
  const { line } = lineOfModel();
  await assert.rejects(
    line.run("run", "--via", "127.0.0.1", "--network", "passphrase:other"),
    isFailure("network_mismatch"),
  );
  assert.ok(!line.requests.some((request) => request.startsWith("startsurvey")));
  await assert.rejects(lineOfModel().line.run("run", "--via", "ftp://127.0.0.1"), isFailure("invalid_argument"));
});

test("survey --via shows what the node said to a command that it refused", { timeout: 30_000 }, async () => {
  const { model } = lineOfModel();
  const refusing = new Line((request) =>
    request.command === "startsurveycollecting" ? recorded("survey-start-no-nonce.txt") : model.answer(request)
  );
  assert.equal(await refusing.run("run", "--via", "127.0.0.1"), 1);
  assert.match(refusing.err, /core_exception\)\n {2}it said: 'nonce' argument is required!/);
});

test("a node restarted while it asks: what is known is written, and the status says that it is not all", {
  timeout: 30_000,
}, async () => {
  const { line, model, network } = lineOfModel();
  const out = join(line.folder, "out");
  line.onRequest = () => {
    if (model.sent.length >= 20 && model.phase === "reporting") model.restart();
  };
  assert.equal(await line.run("run", "--via", "127.0.0.1", "--out", out), 3);
  assert.match(line.err, /core_survey_lost/);
  assert.match(line.err, /restarted/);
  const { topology } = JSON.parse(readFileSync(join(out, "result.json"), "utf8"));
  const answered = Object.values(topology).filter((node) => node !== null).length;
  assert.ok(answered >= 9 && answered < network.size, `${answered} answered`);
});

test(
  "survey start, stop and collect --via are one survey; Ctrl-C in the middle keeps everything",
  { timeout: 60_000 },
  async () => {
    const { line, model, network } = lineOfModel();
    const via = ["--via", "127.0.0.1"];
    assert.equal(await line.run("start", ...via, "--nonce", "77"), 0, line.err);
    assert.equal(model.phase, "collecting");
    assert.equal(await line.run("stop", ...via), 0, line.err);
    assert.equal(model.phase, "reporting");
    line.onRequest = () => {
      if (model.sent.length >= 10) line.interruption.abort();
    };
    assert.equal(await line.run("collect", ...via), 130, line.err);
    assert.match(line.err, /loop of requests was ended/);
    assert.match(line.err, /survey collect/);
    assert.equal(line.requests.at(-1), "stopsurvey");
    line.onRequest = undefined;
    line.interruption = new AbortController();
    await line.clock.advance(20 * 60_000);
    const before = model.sent.length;
    const out = join(line.folder, "out");
    assert.equal(await line.run("collect", ...via, "--out", out), 0, line.err);
    const { topology } = parseSurveyResult(readFileSync(join(out, "result.json"), "utf8"), "result.json");
    assert.deepEqual(new Map([...topology!].sort()), new Map([...network].sort()));
    assert.equal(line.requests.filter((request) => request.startsWith("startsurvey")).length, 1);
    assert.equal(line.requests.filter((request) => request === "stopsurveycollecting").length, 1);
    assert.ok(before >= 10 && model.sent.length > before);
  },
);

test("the program surveys through a stellar-core over HTTP", { timeout: 90_000 }, async () => {
  const network = coreNetwork(new SeededRandom(2), { nodes: 12, target: 6, hubs: 4 });
  const self = [...network.keys()][0];
  const model = new CoreSurveyModel({ network, self, batchMs: 100, answerMs: 5 });
  await using server = await new CoreHttpServer(model.answer).open();
  try {
    const folder = temporaryFolder(), out = join(folder, "out");
    const where = ["--via", server.url, "--db", join(folder, "db")];
    const run = await runTool(["survey", "run", ...where, "--collect", "1s", "--settle", "0", "--out", out, "--json"]);
    assert.equal(run.status, 0, run.err);
    assert.equal(JSON.parse(run.out).answered, 11);
    const { topology } = parseSurveyResult(readFileSync(join(out, "result.json"), "utf8"), "result.json");
    assert.deepEqual(new Map([...topology!].sort()), new Map([...network].sort()));
    assert.equal(server.requests.at(-1), "stopsurvey");

    const other = ["--via", server.url, "--db", join(folder, "other")];
    const again = await runTool(["survey", "run", ...other, "--collect", "1s"]);
    assert.equal(again.status, 1);
    assert.match(again.err, /survey_active/);
  } finally {
    model.close();
  }
  const gone = await runTool(["survey", "run", "--via", "127.0.0.1:1"]);
  assert.equal(gone.status, 1);
  assert.match(gone.err, /core_unreachable/);
  assert.match(gone.err, /PUBLIC_HTTP_PORT/);
});
