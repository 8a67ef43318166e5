import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { hmac } from "@noble/hashes/hmac.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { decodeNodeId, encodeNodeId } from "../../overlay/crypto/strkey.ts";
import { arbDocument, canonical, madeUpId, recordedDocument } from "../../tests/kit/survey_files_kit.ts";
import { anonymize, anonymousIds, releaseOf } from "./anonymize.ts";
import { FORMATS, printSurvey, readSurvey } from "./formats.ts";
import { linksOf } from "./links.ts";
import { nodesOf, sortPeers } from "./merge.ts";
import { PEER_COUNTERS, sliceMsOf, type SurveyDocument } from "./types.ts";

const SEED = "a long seed for the tests";

test("anonymousIds are HMAC-SHA256 of the id with the seed as key, as node ids", () => {
  const id = madeUpId(1);
  const text = new TextEncoder();
  const wanted = encodeNodeId(hmac(sha256, text.encode(SEED), text.encode(`stellar-overlay anonymize\n${id}`)));
  assert.equal(anonymousIds(SEED)(id), wanted);
  assert.equal(decodeNodeId(wanted).length, 32);
  assert.notEqual(anonymousIds("another seed")(id), wanted);
});

test("anonymize keeps graph, figures and states of any document, under other names", () => {
  fc.assert(
    fc.property(arbDocument, (document) => {
      const idOf = anonymousIds(SEED);
      const hidden = anonymize(document, SEED);
      assert.deepEqual(
        nodesOf({ ...hidden, attributes: new Map() }),
        nodesOf({ ...document, attributes: new Map() }).map(idOf).sort(),
      );
      const shape = (one: SurveyDocument, name: (id: string) => string) =>
        linksOf(one).map(({ ends, dialer, reports, disagreements }) =>
          JSON.stringify([ends.map(name).sort(), dialer && name(dialer), disagreements, reports.length])
        ).sort();
      assert.deepEqual(shape(hidden, (id) => id), shape(document, idOf));
      for (const [id, node] of document.nodes) {
        const other = hidden.nodes.get(idOf(id))!;
        assert.deepEqual(other.data, node.data);
        for (const list of ["inboundPeers", "outboundPeers"] as const) {
          const figures = (peers: typeof node.inboundPeers) =>
            peers.map((peer) => [...PEER_COUNTERS.map((name) => peer[name]), peer.averageLatencyMs]);
          const renamed = sortPeers(node[list].map((peer) => ({ ...peer, nodeId: idOf(peer.nodeId) })));
          assert.deepEqual(figures(other[list]), figures(renamed));
        }
      }
      assert.deepEqual(
        hidden.states,
        new Map(
          [...document.states].map(([id, state]): [string, typeof state] => [idOf(id), state])
            .sort(([a], [b]) => (a < b ? -1 : 1)),
        ),
      );
      assert.equal(sliceMsOf(hidden), sliceMsOf(document));
    }),
    { numRuns: 60 },
  );
});

test("anonymize: nothing of the old names is in any file, and the same seed gives the same names in all of them", () => {
  const document = recordedDocument();
  const [first] = document.nodes.keys();
  document.attributes.set(first, { radar_name: "Somebody", radar_ip: "10.1.2.3", isTier1: true });
  document.network = "Somebody's own network ; 2026";
  document.surveyor = first;
  document.nonce = 123456789;
  document.startedAtMs = Date.parse("2026-03-04T05:06:07Z");
  document.stoppedAtMs = document.startedAtMs + 60_000;
  document.lateJoiners.add(first);
  const names = [...document.states.keys()];
  const hidden = anonymize(document, SEED), id = anonymousIds(SEED)(first);
  for (const format of FORMATS) {
    const text = printSurvey(hidden, format);
    for (const word of [...names, "dirty", "Somebody", "10.1.2.3", "radar_", "123456789", "2026"]) {
      assert.ok(!text.includes(word), `${format} holds ${word}`);
    }
    assert.ok(text.includes(id), format);
  }
  // Converting before and after gives one result.
  const later = anonymize(readSurvey(printSurvey(document, "survey"), "x").document, SEED);
  assert.deepEqual(canonical(later), canonical(hidden));
  assert.equal(hidden.sliceMs, 60_000);
  assert.equal(anonymize({ ...document, network: "pubnet" }, SEED).network, "pubnet");
});

test("anonymize leaves nothing of the old order", () => {
  const document = recordedDocument();
  const backwards: SurveyDocument = {
    ...document,
    nodes: new Map([...document.nodes].reverse()),
    states: new Map([...document.states].reverse()),
  };
  assert.deepEqual([...anonymize(backwards, SEED).nodes], [...anonymize(document, SEED).nodes]);
  assert.deepEqual([...anonymize(backwards, SEED).states], [...anonymize(document, SEED).states]);
});

test("anonymize: versions as releases, or none", () => {
  const cases: [version: string, release: string][] = [
    ["v26.1.0-dirty", "v26.1.0"],
    ["v22.0.0-12-g61aadd29", "v22.0.0"],
    ["stellar-core 22.1.0 (8d6e6d74cfae65943211bdcc5ba083976d525a04)", "v22.1.0"],
    ["v23.0.0rc2", "v23.0.0rc2"],
    ["23.0.1-2510.c9c1ba0~noble", "v23.0.1"],
    ["my private node", "other"],
    ["", "other"],
  ];
  for (const [version, release] of cases) assert.equal(releaseOf(version), release);
  const dropped = printSurvey(anonymize(recordedDocument(), SEED, { versions: "drop" }), "result");
  assert.deepEqual(new Set([...dropped.matchAll(/"version" : (.*)/g)].map((match) => match[1])), new Set(['"other"']));
});
