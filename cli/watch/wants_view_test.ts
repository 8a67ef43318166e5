import assert from "node:assert/strict";
import { test } from "node:test";
import { wantsView } from "./flags.ts";

test("wantsView is for a plain watch; whatever only lines can give makes lines", () => {
  assert.equal(wantsView({}), true);
  for (const flag of ["json", "lines", "quiet", "decode"] as const) assert.equal(wantsView({ [flag]: true }), false);
  assert.equal(wantsView({ count: 1 }), false);
  for (const flag of ["type", "peer", "validator"] as const) assert.equal(wantsView({ [flag]: ["G"] }), false);
  assert.equal(wantsView({ slot: "7" }), false);
});
