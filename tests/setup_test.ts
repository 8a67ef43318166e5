/** tests/tasks/setup.mjs leaves what is not its own alone. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, lstatSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { ROOT, temporaryFolder } from "./kit/tool.ts";

test("setup: a node_modules that is a link is not installed into, for npm ci would empty what others share", () => {
  const folder = temporaryFolder(), shared = temporaryFolder();
  writeFileSync(join(shared, "kept"), "of others");
  mkdirSync(join(folder, "tests", "tasks"), { recursive: true });
  copyFileSync(join(ROOT, "tests", "tasks", "setup.mjs"), join(folder, "tests", "tasks", "setup.mjs"));
  // Without packages: an installation would be done in a moment, and offline.
  writeFileSync(join(folder, "package.json"), '{ "name": "x", "version": "1.0.0" }');
  const lock = { name: "x", version: "1.0.0", lockfileVersion: 3, packages: { "": { name: "x", version: "1.0.0" } } };
  writeFileSync(join(folder, "package-lock.json"), JSON.stringify(lock));
  symlinkSync(shared, join(folder, "node_modules"));
  const result = spawnSync("node", [join(folder, "tests", "tasks", "setup.mjs")], { encoding: "utf8", cwd: folder });
  assert.equal(result.status, 0, result.stderr);
  assert.match(result.stderr, /is a link/);
  assert.ok(existsSync(join(shared, "kept")));
  assert.ok(lstatSync(join(folder, "node_modules")).isSymbolicLink());
});
