/** Processes of this machine, as far as the rows in a database name them. */
import { hostname } from "node:os";
import process from "node:process";
import type { Database } from "../overlay/db/database.ts";
import { isGone as isOwnerGone } from "./owner.ts";
import { enteredNodes, enterNode, leaveNode, type RunningNode } from "../overlay/db/running_nodes.ts";

/**
 * Says in the database that this process runs a node with it, until disposed; `onError` hears when that cannot be written,
 * which is no reason to stop.
 */
export function nodeHere(
  db: Database,
  node: Pick<RunningNode, "nodeId" | "command" | "startedAt">,
  onError: (error: unknown) => void,
): Disposable {
  const here = { machine: hostname(), pid: process.pid };
  const attempt = (act: () => void) => {
    try {
      act();
    } catch (error) {
      onError(error);
    }
  };
  attempt(() => {
    for (const other of enteredNodes(db)) if (isGone(other)) leaveNode(db, other);
    enterNode(db, { ...here, ...node });
  });
  return { [Symbol.dispose]: () => attempt(() => leaveNode(db, here)) };
}

/** Nodes that run with a database: alive ones of this machine, and those that another machine says it has. */
export function nodesWith(db: Database): (RunningNode & { here: boolean })[] {
  return enteredNodes(db).filter((node) => !isGone(node)).map((node) => ({
    ...node,
    here: node.machine === hostname(),
  }));
}

function isGone({ machine, pid }: RunningNode): boolean {
  return isOwnerGone(`${machine} ${pid}`);
}
