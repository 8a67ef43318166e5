import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { test } from "node:test";
import { systemClock } from "../../overlay/base/clock.ts";
import { type FailureCode, isFailure, OverlayError, remoteText } from "../../overlay/base/errors.ts";
import { printSurveyResult } from "../topology/survey_result.ts";
import {
  CoreHttpServer,
  type CoreReply,
  type CoreRequest,
  type Fault,
  recorded,
  RECORDED_NOBODY,
  RECORDED_SELF,
  recordedNode,
} from "../../tests/kit/core_http_server.ts";
import { parseJson } from "../topology/json_text.ts";
import { readAdd, readConnect, readPeerCommand, readStart, readStop } from "./answers.ts";
import { CoreHttp } from "./core_http.ts";
import { parseCoreUrl } from "./core_url.ts";

const LIMIT = { timeout: 30_000 };

function clientOf(server: { url: string }, options: Partial<ConstructorParameters<typeof CoreHttp>[1]> = {}): CoreHttp {
  return new CoreHttp(parseCoreUrl(server.url), { clock: systemClock, ...options });
}

function serve(answer: (request: CoreRequest) => CoreReply): Promise<CoreHttpServer> {
  return new CoreHttpServer(answer).open();
}

test("CoreHttp reads what a stellar-core v26 answered", LIMIT, async () => {
  await using server = await serve(recordedNode());
  const core = clientOf(server);

  const info = await core.info();
  assert.deepEqual({ ...info }, {
    build: "v26.1.0-dirty",
    network: "Standalone Network ; February 2017",
    state: "Synced!",
    ledger: 512,
    startedOn: "2026-11-23T14:52:10Z",
    // 14:53:33 is the close time, the ledger is 2 s old.
    uptimeMs: 85_000,
    authenticatedPeers: 6,
  });

  const peers = await core.peers({ fullKeys: true });
  assert.deepEqual(peers.authenticated.map((peer) => peer.direction), [
    ...Array(3).fill("inbound"),
    ...Array(3).fill("outbound"),
  ]);
  assert.ok(peers.authenticated.every((peer) => /^G[A-Z2-7]{55}$/.test(peer.id)));
  assert.deepEqual(peers.authenticated[0], {
    direction: "inbound",
    id: "GCKWVKJT4RHYNDLECJC72Z4XV57J2DVYBI2WERT2X3ZSKP7TZYFMN6ST",
    address: "127.0.0.1:11625",
    version: "stellar-overlay recorder",
    overlayVersion: 42,
    elapsedSeconds: 2,
    latencyMs: 86_400_000,
  });
  assert.deepEqual((await core.peers()).authenticated.map((peer) => peer.id.length), Array(6).fill(5));
  assert.equal((await core.scp()).you, "self");
  assert.equal((await core.scp({ fullKeys: true, limit: 0 })).you, RECORDED_SELF);
  assert.deepEqual(await core.bans(), []);
  const quorum = await core.quorum({ transitive: true, fullKeys: true }) as { node_count: number };
  assert.equal(quorum.node_count, 4);
  const metrics = await core.metrics({ enable: ["overlay"] }) as { metrics: object };
  assert.ok(Object.keys(metrics.metrics).length > 50);
  assert.deepEqual(server.requests, [
    "info",
    "peers?fullkeys=true",
    "peers",
    "scp",
    "scp?fullkeys=true&limit=0",
    "bans",
    "quorum?fullkeys=true&transitive=true",
    "metrics?enable=overlay",
  ]);
});

test("CoreHttp reads every answer of the recorded survey, and its errors", LIMIT, async () => {
  await using server = await serve(recordedNode());
  const core = clientOf(server);
  assert.deepEqual((await core.getSurveyResult()).topology, undefined);
  assert.deepEqual(await core.startSurveyCollecting(0xdeadbeef), { kind: "requested" });
  assert.deepEqual(await core.stopSurveyCollecting(), { kind: "requested" });
  // "Survey started " has a blank at its end.
  const first = "GA5GNKGVF6TNOVVT3FCEZ34L4IG4OPXNYOCXX522VB7HKMKO3DM676UR";
  assert.deepEqual(await core.surveyTopologyTimeSliced(first, 0, 0), { kind: "added", began: true });
  assert.deepEqual(await core.surveyTopologyTimeSliced(RECORDED_NOBODY, 25, 50), { kind: "added", began: false });
  assert.deepEqual(await core.surveyTopologyTimeSliced("GBAD", 0, 0), { kind: "exception", text: "bad public key" });
  const result = await core.getSurveyResult();
  assert.equal(result.surveyInProgress, true);
  assert.equal(result.topology!.get(RECORDED_NOBODY), null);
  assert.equal([...result.topology!.values()].filter((node) => node !== null).length, 6);
  assert.equal(printSurveyResult(result), recorded("survey-result.json"));
  await core.stopSurvey();
  assert.deepEqual(server.requests.slice(1), [
    "startsurveycollecting?nonce=3735928559",
    "stopsurveycollecting",
    `surveytopologytimesliced?node=${first}&inboundpeerindex=0&outboundpeerindex=0`,
    `surveytopologytimesliced?node=${RECORDED_NOBODY}&inboundpeerindex=25&outboundpeerindex=50`,
    "surveytopologytimesliced?node=GBAD&inboundpeerindex=0&outboundpeerindex=0",
    "getsurveyresult",
    "stopsurvey",
  ]);
});

test("CoreHttp reads the answers of the peer commands", LIMIT, async () => {
  const answers: Record<string, string> = {
    unban: "Unban peer: $friend",
    droppeer: `Drop and ban peer: ${RECORDED_SELF}`,
    connect: "Connect to: example.org:11625",
    bans: `{\n   "bans" : [ "${RECORDED_SELF}" ]\n}\n`,
  };
  await using server = await serve(({ command }) => answers[command]);
  const core = clientOf(server);
  assert.deepEqual(await core.unban("$friend"), { kind: "done", banned: false });
  assert.deepEqual(await core.dropPeer(RECORDED_SELF, true), { kind: "done", banned: true });
  assert.deepEqual(await core.connect("example.org", 11625), { kind: "dialing", address: "example.org:11625" });
  assert.deepEqual(await core.bans(), [RECORDED_SELF]);
  answers.droppeer = recorded("droppeer-unknown.txt");
  assert.deepEqual(await core.dropPeer(RECORDED_NOBODY, false), { kind: "notFound" });
  answers.unban = "Peer @GAB not found";
  assert.deepEqual(await core.unban("@GAB"), { kind: "notFound" });
  // An answer about another node than the one asked for is not taken for this one's.
  await assert.rejects(core.unban("$friend"), isFailure("core_answer_invalid"));
  answers.connect = recorded("connect-no-port.txt");
  await assert.rejects(core.connect("example.org", 11625), isFailure("core_answer_invalid"));
  assert.deepEqual(server.requests.slice(0, 3), [
    "unban?node=%24friend",
    `droppeer?node=${RECORDED_SELF}&ban=1`,
    "connect?peer=example.org&port=11625",
  ]);
});

test("CoreHttp tells the sentences of a survey apart", LIMIT, async () => {
  let body = "";
  await using server = await serve(() => body);
  const core = clientOf(server);
  body = "Failed to start survey collecting. Another survey is active on the network.";
  assert.deepEqual(await core.startSurveyCollecting(1), { kind: "active" });
  body = "Failed to stop survey collecting. No survey is active on the network.";
  assert.deepEqual(await core.stopSurveyCollecting(), { kind: "none" });
  body = recorded("survey-start-no-nonce.txt");
  assert.deepEqual(await core.startSurveyCollecting(1), { kind: "exception", text: "'nonce' argument is required!" });
  // The text is not escaped as JSON by the node.
  body = '{"exception": "a "quoted" text"}';
  assert.deepEqual(await core.surveyTopologyTimeSliced("GA", 0, 0), { kind: "exception", text: 'a "quoted" text' });
  for (const odd of ["", "Adding node.", "toString", "Requested network to start survey collecting", "{}"]) {
    body = odd;
    await assert.rejects(core.surveyTopologyTimeSliced("GA", 0, 0), isFailure("core_answer_invalid"), odd);
  }
});

test("every recorded body means what it meant when it was recorded", () => {
  const added = { kind: "added", began: false };
  const readers: Record<string, (body: string) => unknown> = {
    add: readAdd,
    start: readStart,
    stop: readStop,
    connect: readConnect,
    drop: (body) => readPeerCommand(body, RECORDED_NOBODY),
    json: (body) => typeof parseJson(body),
    html: (body) => body.startsWith("<b>Welcome to stellar-core!</b>"),
  };
  const bodies: Record<string, [reader: string, meaning: unknown]> = {
    "connect-no-port.txt": ["connect", undefined],
    "droppeer-unknown.txt": ["drop", { kind: "notFound" }],
    "survey-request-1.txt": ["add", { kind: "added", began: true }],
    "survey-request-2.txt": ["add", added],
    "survey-request-3.txt": ["add", added],
    "survey-request-4.txt": ["add", added],
    "survey-request-5.txt": ["add", added],
    "survey-request-self.txt": ["add", added],
    "survey-request-unknown.txt": ["add", added],
    "survey-request-bad-node.txt": ["add", { kind: "exception", text: "bad public key" }],
    "survey-start.txt": ["start", { kind: "requested" }],
    "survey-start-no-nonce.txt": ["start", { kind: "exception", text: "'nonce' argument is required!" }],
    "survey-stop.txt": ["stop", { kind: "requested" }],
    "unknown-command.txt": ["html", true],
  };
  for (const file of readdirSync(new URL("../../tests/fixtures/http", import.meta.url))) {
    const [reader, meaning] = bodies[file] ?? (file.endsWith(".json") ? ["json", "object"] : ["none", undefined]);
    assert.deepEqual(readers[reader](recorded(file)), meaning, file);
  }
});

async function failureOf(work: Promise<unknown>): Promise<OverlayError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof OverlayError) return error;
    throw error;
  }
  throw new Error("it did not fail");
}

test("CoreHttp names what went wrong on the way", LIMIT, async () => {
  const faults: [Fault, FailureCode][] = [
    ["hang", "core_timeout"],
    ["silentHead", "core_timeout"],
    ["half", "core_timeout"],
    ["cut", "core_connection_lost"],
    ["reset", "core_connection_lost"],
    ["close", "core_connection_lost"],
    ["huge", "core_answer_too_large"],
    ["ssh", "not_stellar_core"],
  ];
  await using server = await serve(recordedNode());
  const core = clientOf(server, { timeoutMs: 400, limits: { document: 200_000 } });
  const lasting = clientOf(server, { limits: { document: 200_000 } });
  for (const [fault, code] of faults) {
    server.fault = fault;
    const error = await failureOf((code === "core_timeout" ? core : lasting).info());
    assert.equal(error.code, code, fault);
    assert.ok(error.message.includes(server.url), error.message);
  }
  // And the next request is fine.
  server.fault = undefined;
  assert.equal((await lasting.info()).ledger, 512);
});

test("CoreHttp waits for a slow node as long as it was told to", LIMIT, async () => {
  await using server = await serve(recordedNode());
  server.delayMs = 300;
  assert.equal((await clientOf(server).info()).ledger, 512);
  await assert.rejects(clientOf(server, { timeoutMs: 20 }).info(), isFailure("core_timeout"));
});

test("CoreHttp names answers that are not a stellar-core's", LIMIT, async () => {
  let reply: CoreReply = "";
  await using server = await serve(() => reply);
  const core = clientOf(server);
  const cases: [CoreReply, FailureCode][] = [
    [{ status: 404, contentType: "text/html", body: recorded("unknown-command.txt") }, "core_unknown_command"],
    [{ status: 404, contentType: "text/html", body: "<h1>404</h1>" }, "core_http_status"],
    [{ status: 500, contentType: "text/plain", body: "" }, "core_http_status"],
    [{ status: 302, contentType: "text/plain", body: "" }, "core_http_status"],
    [{ status: 200, contentType: "text/html; charset=utf-8", body: "<p>hello</p>" }, "not_stellar_core"],
    ["<!DOCTYPE html><html></html>", "not_stellar_core"],
    ['{ "_links": {}, "horizon_version": "1" }', "not_stellar_core"],
    ["[]", "not_stellar_core"],
    ["garbage {", "core_answer_invalid"],
    ["", "core_answer_invalid"],
    ['{ "info" : {', "core_answer_invalid"],
    ['{ "info" : { "build" : 3 } }', "core_answer_invalid"],
    ['{"exception": "generic"}', "core_exception"],
    ['{"error": "Core is booting, try again later"}', "core_not_ready"],
  ];
  for (const [answer, code] of cases) {
    reply = answer;
    assert.equal((await failureOf(core.info())).code, code, JSON.stringify(answer));
  }
  reply = '{"exception": "unknown \x1b[2J name"}';
  assert.equal(remoteText((await failureOf(core.quorum())).failure), "unknown \x1b[2J name");
});

test(
  "CoreHttp names a host that does not answer, and says how to reach a node that listens on loopback only",
  LIMIT,
  async () => {
    const server = await serve(() => "");
    const { url } = server;
    await server.close();
    const error = await failureOf(clientOf({ url }).info());
    assert.deepEqual(error.failure, { code: "core_unreachable", url, reason: "ECONNREFUSED" });
    for (const word of ["HTTP_PORT", "PUBLIC_HTTP_PORT", "ssh -L"]) assert.ok(error.hint.includes(word), word);
  },
);

test("CoreHttp sends one request at a time, and an interrupted one does not hold up the next", LIMIT, async () => {
  await using server = await serve(recordedNode());
  const core = clientOf(server);
  server.delayMs = 30;
  await Promise.all([core.info(), core.bans(), core.peers()]);
  server.delayMs = 0;
  assert.equal(server.mostAtOnce, 1);
  assert.deepEqual(server.requests, ["info", "bans", "peers"]);
  server.fault = "hang";
  const stop = new AbortController();
  const waiting = core.info({ signal: stop.signal });
  const next = core.bans();
  while (server.requests.length < 4) await new Promise((resolve) => setTimeout(resolve, 5));
  server.fault = undefined;
  stop.abort();
  await assert.rejects(waiting, isFailure("local_close"));
  assert.deepEqual(await next, []);
});

test("CoreHttp sends only names that stellar-core can take apart again", async () => {
  const core = clientOf({ url: "http://127.0.0.1:1" });
  for (const name of ["a&ban=1", "a=b", "a b", "a+b", "", "a?b", "é"]) {
    await assert.rejects(core.unban(name), isFailure("invalid_argument"), name);
  }
});

test("parseCoreUrl reads what operators write", () => {
  const texts = (text: string) => parseCoreUrl(text).text;
  assert.equal(texts("http://127.0.0.1:11626"), "http://127.0.0.1:11626");
  assert.equal(texts("http://127.0.0.1"), "http://127.0.0.1:11626");
  assert.equal(texts("localhost"), "http://localhost:11626");
  assert.equal(texts("core.example:8080/"), "http://core.example:8080");
  assert.equal(texts("http://core.example:80/"), "http://core.example:80");
  assert.equal(texts("https://core.example/node1/"), "https://core.example:443/node1");
  assert.deepEqual(parseCoreUrl("http://[::1]:1"), {
    secure: false,
    host: "::1",
    port: 1,
    prefix: "",
    text: "http://[::1]:1",
  });
  for (
    const text of ["ftp://a", "http://", "http://u:p@a", "http://a/?x=1", "http://a:0", "http://a:70000", "a b", ""]
  ) {
    assert.throws(() => parseCoreUrl(text, "--via"), isFailure("invalid_argument"), text);
  }
});
