import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { encodeNodeId } from "../../overlay/crypto/strkey.ts";
import type { BanJson } from "../../overlay/db/ban_manager.ts";
import { recorded } from "../../tests/kit/core_http_server.ts";
import { UsageError } from "../flags.ts";
import { renderBansJson, renderBansNdjson, renderBansText } from "../render/ban.ts";
import { bansOfText, lineOfBan, nodeOf } from "./ban_list.ts";
import { BAN_SCHEMA, type BanListing, rowsOfCore } from "./report.ts";

const node = (n: number): string => encodeNodeId(new Uint8Array(32).fill(n));
const [A, B, C] = [node(1), node(2), node(3)];
const AT = "2026-01-02T03:04:05.006Z";

function listing(bans: BanJson[]): BanListing {
  const place = { network: "testnet", database: "/x.sqlite", via: null };
  return { schema: BAN_SCHEMA, action: "list", at: AT, ...place, bans: bans.map((ban) => ({ ...ban, leftMs: 5 })) };
}

function wrong(message: RegExp): (error: unknown) => boolean {
  return (error) => error instanceof UsageError && message.test(error.message);
}

test("bansOfText reads back every form of an export, whatever stands in it", () => {
  const instant = fc.integer({ min: 0, max: 4e12 }).map((ms) => new Date(ms).toISOString());
  const text = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.string(),
    fc.constantFrom('" reason=x', "#", "a # b", "\\", "\u202e\n"),
  );
  const ban = fc.record({
    nodeId: fc.integer({ min: 0, max: 255 }).map(node),
    until: fc.option(instant),
    reason: text,
    createdAt: instant,
    by: text,
  });
  fc.assert(fc.property(fc.array(ban, { maxLength: 5 }), (bans) => {
    const found = listing(bans);
    for (const render of [renderBansText, renderBansJson, renderBansNdjson]) {
      const written = render(found);
      // deno-lint-ignore no-control-regex
      assert.doesNotMatch(written, /[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]/);
      const read = bansOfText(written, "x").map((entry) => ({ reason: "", by: "", ...entry }));
      assert.deepEqual(read, bans.map(({ ...ban }) => ban));
    }
  }));
});

test("bansOfText reads what others write", () => {
  assert.deepEqual(bansOfText(recorded("bans.json"), "x"), []);
  assert.deepEqual(bansOfText(`{"bans": ["${A}", "${B}"]}`, "x"), [{ nodeId: A }, { nodeId: B }]);
  assert.deepEqual(bansOfText(`["${A}"]`, "x"), [{ nodeId: A }]);
  assert.deepEqual(bansOfText(`{"nodeId": "${A}", "until": null, "createdAt": null}`, "x"), [{
    nodeId: A,
    until: null,
  }]);
  const lines = [
    "# a comment",
    "",
    `\t${A}  # why not`,
    `"${B}",`,
    `${C}@1.2.3.4:11625 sends nonsense # since may`,
    `${A} until=forever reason=loud # x`,
    `${B} until=2026-08-01 since=2026-01-01T00:00:00+02:00`,
    "$evil",
  ];
  assert.deepEqual(bansOfText(lines.join("\r\n"), "x", (name) => name === "evil" ? C : undefined), [
    { nodeId: A },
    { nodeId: B },
    { nodeId: C, reason: "sends nonsense" },
    { nodeId: A, until: null, reason: "loud" },
    { nodeId: B, until: "2026-08-01T00:00:00.000Z", createdAt: "2025-12-31T22:00:00.000Z" },
    { nodeId: C },
  ]);
  const fromCore = renderBansText({ ...listing([]), via: "http://x", bans: rowsOfCore([A, B]) });
  assert.deepEqual(bansOfText(fromCore, "x"), [{ nodeId: A }, { nodeId: B }]);
  assert.deepEqual(bansOfText("", "x"), []);
});

test("bansOfText names the line or the entry that is wrong, and never quotes a secret", () => {
  const secret = "SAMHTJQ25K6ZFPYYHDYCJ4VCVXUC7LJSSQFVYNZSW2WTBEUZY6Q7UGZL";
  const table: [string, RegExp][] = [
    [`${A}\n${A.slice(0, 55)}`, /^x line 2: 55 characters instead of 56$/],
    [`${A.slice(0, 55)}${A[55] === "A" ? "B" : "A"}`, /line 1: the checksum does not fit/],
    [secret, /line 1: that is a secret seed/],
    [`${A} until=soon`, /line 1: until: no time/],
    [`${A} until=2026-13-45`, /line 1: until: no time/],
    [`${A} until=12`, /line 1: until: no time/],
    [`${A} by="x`, /line 1: cannot read/],
    [`${A} by=x because`, /line 1: cannot read 'because'/],
    [`${A} by=x colour=red`, /'colour' is not one of until, since, by, reason/],
    [`${A} reason="\\q"`, /reason is not quoted as JSON quotes/],
    ["$nobody", /line 1: no node is named \$nobody/],
    ["{}", /JSON without a list of bans/],
    ['{"bans": 5}', /JSON without a list of bans/],
    [`["${A}", 7]`, /ban 2: neither a node id nor an object/],
    [`["${A}", {"reason": "x"}]`, /ban 2: it has no nodeId/],
    [`[{"nodeId": "${A}", "until": 5}]`, /ban 1: until: no time/],
    [`[{"nodeId": "${A}", "reason": 5}]`, /ban 1: reason is not a text/],
    [`{"nodeId": "${A}"}\n{"nodeId": "${B}"`, /x line 2: /],
    [`{\n  "bans": [\n    "${A}",`, /^x: /],
    [`["${A}"`, /^x: /],
  ];
  for (const [text, message] of table) {
    assert.throws(() => bansOfText(text, "x"), wrong(message), text);
    try {
      bansOfText(text, "x");
    } catch (error) {
      assert.ok(!String(error).includes(secret.slice(0, 10)));
    }
  }
});

test("bansOfText refuses every list that was cut in the middle of an entry", () => {
  const bans = [A, B, C].map((nodeId) => ({ nodeId, until: AT, reason: "why", createdAt: AT, by: "me" }));
  for (const render of [renderBansText, renderBansJson, renderBansNdjson]) {
    const whole = render(listing(bans));
    const lengths = new Set<number>();
    for (let end = 1; end < whole.length; end++) {
      try {
        lengths.add(bansOfText(whole.slice(0, end), "x").length);
      } catch (error) {
        assert.ok(error instanceof UsageError, String(error));
      }
    }
    // JSON is whole or nothing. Lines may end after a line; text also after a field.
    if (render === renderBansJson) assert.deepEqual([...lengths], whole.endsWith("\n") ? [3] : []);
  }
});

test("lineOfBan leaves out what is empty", () => {
  assert.equal(
    lineOfBan({ nodeId: A, until: null, reason: "", createdAt: AT, by: "" }),
    `${A} until=forever since=${AT}`,
  );
});

test("nodeOf takes the id out of a target, and checks it", () => {
  assert.equal(nodeOf(`${A}@[::1]:5`, "node"), A);
  assert.throws(() => nodeOf("core.example.org:11625", "node 2"), wrong(/^node 2: /));
});
