import assert from "node:assert/strict";
import { test } from "node:test";
import type { Visit } from "../probe/visit.ts";
import { bestOutcome, compareStates, recordOf, storedOf, visitFromStored } from "./visit_record.ts";

const VISIT: Visit = {
  to: { host: "1.2.3.4", port: 11625 },
  state: "reachable",
  failure: undefined,
  remoteText: undefined,
  startedAtMs: 1_767_225_600_000,
  durationMs: 12.5,
  stagesMs: { tcp: 1, hello: 2, auth: 3, grant: 4 },
  hello: {
    ledgerVersion: 27,
    overlayVersion: 42,
    overlayMinVersion: 41,
    networkId: new Uint8Array(32),
    versionStr: "v1",
    listeningPort: 11625,
    peerId: new Uint8Array(32),
    cert: { pubkey: new Uint8Array(32), expiration: 1_767_229_200n, sig: new Uint8Array(64) },
    nonce: new Uint8Array(32),
  },
  nodeId: `G${"A".repeat(55)}`,
  helloAtMs: 1_767_225_600_003,
  peers: [],
  rttMs: [3, 2.5],
  pingsLost: 0,
  scpMessages: 1,
  bytesRead: 10,
  bytesWritten: 20,
};
const MORE = { address: "1.2.3.4:11625", depth: 1, attempt: 2, network: "local", peers: ["5.6.7.8:1"], listened: true };

test("visitFromStored gives back what storedOf took, through JSON", () => {
  const record = recordOf(VISIT, MORE);
  assert.equal(record.authenticated, true);
  assert.deepEqual(visitFromStored(JSON.parse(JSON.stringify(storedOf(record)))), record);
  const failed = {
    ...recordOf({ ...VISIT, state: "dead", failure: { code: "connect_refused", address: "x" } }, {
      ...MORE,
      peers: undefined,
    }),
    retryAtMs: 1_767_225_700_000,
  };
  assert.deepEqual(visitFromStored(JSON.parse(JSON.stringify(storedOf(failed)))), failed);
});

test("recordOf believes no HELLO whose certificate did not verify", () => {
  const record = recordOf({ ...VISIT, helloAtMs: undefined, stagesMs: { tcp: 1 } }, MORE);
  assert.deepEqual([record.nodeId, record.hello, record.authenticated], [undefined, undefined, false]);
});

test("bestOutcome takes the best state, and the later of equals", () => {
  const outcomes = (["dead", "full", "dropped", "full"] as const).map((state, at) => ({ state, at }));
  assert.equal(bestOutcome(outcomes)!.at, 3);
  assert.equal(bestOutcome([]), undefined);
  assert.ok(compareStates("reachable", "full") < 0 && compareStates("silent", "faulty") > 0);
});
