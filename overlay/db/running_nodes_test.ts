import assert from "node:assert/strict";
import { test } from "node:test";
import { openDatabase } from "./database.ts";
import { enteredNodes, enterNode, leaveNode } from "./running_nodes.ts";
import { migrate } from "./schema.ts";

test("nodes that run with a file are told until they leave; a process has one row, and rows are bounded", async () => {
  using db = await openDatabase(":memory:");
  migrate(db);
  const node = (pid: number, startedAt = pid) => ({ machine: "m", pid, nodeId: `G${pid}`, command: "run", startedAt });
  enterNode(db, node(2));
  enterNode(db, node(1));
  // The number of a process that was killed is given to another one.
  enterNode(db, { ...node(2), nodeId: "GNEW" });
  enterNode(db, { ...node(2, 3), machine: "other" });
  assert.deepEqual(enteredNodes(db).map(({ machine, pid, nodeId }) => [machine, pid, nodeId]), [
    ["m", 1, "G1"],
    ["m", 2, "GNEW"],
    ["other", 2, "G2"],
  ]);
  leaveNode(db, node(2));
  leaveNode(db, node(77));
  assert.equal(enteredNodes(db).length, 2);
  for (let pid = 10; pid < 300; pid++) enterNode(db, node(pid));
  assert.deepEqual([enteredNodes(db).length, enteredNodes(db)[0].pid], [100, 200]);
});
