import { test } from "node:test";
import assert from "node:assert/strict";
import { OverlayError } from "../../overlay/base/errors.ts";
import { planTwin } from "./plan.ts";
import { checkTopology, parseTopology } from "./topology_file.ts";

const VALID = {
  nodes: [
    { name: "a", validator: true, book: ["b", "10.0.0.1:11625", "[fd00::1]:11625"] },
    { name: "b", behaviour: "full", versionStr: "x", overlayVersion: 35, overlayMinVersion: 33, ledgerVersion: 21 },
    { name: "c", behaviour: "not-stellar" },
  ],
  links: [["a", "b"]],
  seeds: ["b"],
};

test("parseTopology accepts what the format allows, and planTwin follows it", () => {
  const plan = planTwin({ nodes: 0, seed: 1, topology: parseTopology(JSON.stringify(VALID), "f.json"), port: 7 });
  assert.deepEqual(plan.seeds, [1]);
  assert.deepEqual(
    plan.nodes.map((node) => [node.name, node.host, node.port, node.behaviour, node.validator, node.links]),
    [
      ["a", "127.0.0.2", 7, "reachable", true, [1]],
      ["b", "127.0.0.3", 7, "full", false, []],
      ["c", "127.0.0.4", 7, "not-stellar", false, []],
    ],
  );
  assert.deepEqual(plan.nodes[0].book, [
    { host: "127.0.0.3", port: 7 },
    { host: "10.0.0.1", port: 11625 },
    { host: "fd00::1", port: 11625 },
  ]);
  assert.deepEqual([plan.nodes[1].versionStr, plan.nodes[1].overlayVersion, plan.nodes[1].ledgerVersion], [
    "x",
    35,
    21,
  ]);
});

test("checkTopology names the field that is wrong", () => {
  const node = (fields: object) => ({ nodes: [{ name: "a", ...fields }] });
  const pair = { nodes: [{ name: "a" }, { name: "b" }, { name: "s", behaviour: "silent" }] };
  const rows: [document: unknown, reason: RegExp][] = [
    [[], /must be an object/],
    [{ nodes: [] }, /^nodes: /],
    [{ nodes: [1] }, /^nodes\[0\]: /],
    [{ nodes: [{ name: "a" }], extra: 1 }, /^extra: no such field/],
    [node({ color: 1 }), /^nodes\[0\]\.color: no such field/],
    [{ nodes: [{}] }, /^nodes\[0\]\.name: /],
    [node({ name: "a:b" }), /^nodes\[0\]\.name: /],
    [{ nodes: [{ name: "a" }, { name: "a" }] }, /^nodes\[1\]\.name: 'a' is taken/],
    [node({ behaviour: "shy" }), /^nodes\[0\]\.behaviour: one of reachable, /],
    [node({ validator: 1 }), /^nodes\[0\]\.validator: /],
    [node({ validator: true, behaviour: "banning" }), /^nodes\[0\]\.validator: .*no part/],
    [node({ versionStr: "é".repeat(51) }), /^nodes\[0\]\.versionStr: /],
    [node({ survey: "shy" }), /^nodes\[0\]\.survey: one of opted-out, late, restarting/],
    [node({ survey: "late", behaviour: "silent" }), /^nodes\[0\]\.survey: .*no part/],
    [node({ lagLedgers: 0.5 }), /^nodes\[0\]\.lagLedgers: /],
    [node({ ledgerVersion: -1 }), /^nodes\[0\]\.ledgerVersion: /],
    [node({ book: "b" }), /^nodes\[0\]\.book: /],
    [node({ book: new Array(51).fill("a") }), /^nodes\[0\]\.book: /],
    [node({ book: ["zoe"] }), /^nodes\[0\]\.book\[0\]: no node/],
    [node({ book: ["example.org:1"] }), /^nodes\[0\]\.book\[0\]: .* not ip:port/],
    [{ ...pair, links: [["a"]] }, /^links\[0\]: must be a pair/],
    [{ ...pair, links: [["a", "z"]] }, /^links\[0\]: no node/],
    [{ ...pair, links: [["a", "a"]] }, /^links\[0\]: .*itself/],
    [{ ...pair, links: [["a", "s"]] }, /^links\[0\]: 's' takes no part/],
    [{ ...pair, links: [["a", "b"], ["b", "a"]] }, /^links\[1\]: .*linked already/],
    [{ ...pair, seeds: ["z"] }, /^seeds: /],
    [{ ...pair, seeds: [] }, /^seeds: /],
  ];
  for (const [document, reason] of rows) {
    assert.throws(() => checkTopology(document, "f.json"), (error) => {
      assert.ok(error instanceof OverlayError && error.failure.code === "config_invalid", JSON.stringify(document));
      assert.match(error.failure.reason, reason);
      return true;
    }, JSON.stringify(document));
  }
  assert.throws(() => parseTopology("{", "f.json"), /not JSON/);
});
