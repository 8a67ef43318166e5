/**
 * A whole node for kill_engine_test.ts to kill: it listens, is called by ever new peers, dials addresses where nobody is, and
 * bans; all of that writes the file named by the first argument. Prints a line once each change is stored:
 * `met PORT`, `dialed PORT` or `banned G...`. The second argument is the round.
 */
import { writeSync } from "node:fs";
import process from "node:process";
import { openNodeDatabase } from "../overlay/db/schema.ts";
import { dialPeer, LOAD_PASSPHRASE, startEngine, TCP_WORLD } from "./kit/load_kit.ts";

const [path, roundText] = process.argv.slice(2);
const first = 20_000 + 1000 * Number(roundText);
const database = await openNodeDatabase(path, { networkPassphrase: LOAD_PASSPHRASE });
const node = await startEngine(TCP_WORLD, "127.0.0.1", { authenticationTimeoutMs: 20 }, { database });
for (let n = 0;; n++) {
  const port = first + n % 1000;
  const caller = await dialPeer(TCP_WORLD, node, "127.0.0.1", {}, {}, port);
  writeSync(1, `met ${port}\n`);
  if (n % 3 === 0) {
    node.ban(caller.local.nodeIdText, { reason: `round ${roundText}` });
    writeSync(1, `banned ${caller.local.nodeIdText}\n`);
  }
  // Nobody is at 127.0.0.2: the attempt is stored before the dial, and the refusal prunes the table.
  if (node.connect({ host: "127.0.0.2", port })) writeSync(1, `dialed ${port}\n`);
  caller.destroy();
}
