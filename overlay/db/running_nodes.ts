/**
 * Which nodes run with a database: each leaves a row from its start to its end, so that a command that changes the file can
 * tell who will obey. A node that was killed leaves its row behind; whoever reads it asks the system whether the process lives.
 */
import type { Database } from "./database.ts";

/** A node that runs with the file, or did when it was killed. */
export interface RunningNode {
  /** Name of its machine. */
  machine: string;
  pid: number;
  /** `G...` */
  nodeId: string;
  /** The command it runs as, such as "run". */
  command: string;
  /** Ms since the Unix epoch. */
  startedAt: number;
}

/** Rows that stay: far more than one file has nodes. */
const MAX_ROWS = 100;

/**
 * Says that a node runs with this file, until {@link leaveNode}. BOUNDED: one row per machine and process, the newest
 * hundred of them. Throws `db_failed`.
 */
export function enterNode(db: Database, node: RunningNode): void {
  db.transaction(() => {
    db.prepare(
      "INSERT OR REPLACE INTO node_process (machine, pid, node_id, command, started_at) VALUES (?, ?, ?, ?, ?)",
    )
      .run(node.machine, node.pid, node.nodeId, node.command, Math.round(node.startedAt));
    db.prepare(
      `DELETE FROM node_process WHERE (machine, pid) NOT IN
         (SELECT machine, pid FROM node_process ORDER BY started_at DESC LIMIT ?)`,
    ).run(MAX_ROWS);
  });
}

/** Says that it ran. Throws `db_failed`. */
export function leaveNode(db: Database, node: Pick<RunningNode, "machine" | "pid">): void {
  db.prepare("DELETE FROM node_process WHERE machine = ? AND pid = ?").run(node.machine, node.pid);
}

/** The rows, oldest first. Throws `db_failed`. */
export function enteredNodes(db: Database): RunningNode[] {
  return db.prepare("SELECT * FROM node_process ORDER BY started_at, machine, pid").all().map((row) => ({
    machine: row.machine as string,
    pid: row.pid as number,
    nodeId: row.node_id as string,
    command: row.command as string,
    startedAt: row.started_at as number,
  }));
}
