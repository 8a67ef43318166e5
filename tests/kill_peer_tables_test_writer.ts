/**
 * A process for kill_peer_tables_test.ts to kill: changes the peer table or the ban table of the file named by the second
 * argument, one commit after another, and prints a line once each is stored. What the n-th line says follows from the round
 * and n alone, but for random backoffs, which the line tells.
 */
import { writeSync } from "node:fs";
import process from "node:process";
import { systemClock } from "../overlay/base/clock.ts";
import { systemRandom } from "../overlay/base/random.ts";
import { encodeNodeId } from "../overlay/crypto/strkey.ts";
import { BanManager } from "../overlay/db/ban_manager.ts";
import { PeerManager } from "../overlay/db/peer_manager.ts";
import { openNodeDatabase } from "../overlay/db/schema.ts";

const [kind, path, roundText] = process.argv.slice(2);
const round = Number(roundText);
const db = await openNodeDatabase(path, { networkPassphrase: "Killed ; 2026" });

function peers(): void {
  const book = new PeerManager(db, { clock: systemClock, random: systemRandom });
  for (let n = 0;; n++) {
    const host = `10.${round}.0.${n % 40}`;
    if (n % 10 === 9) {
      // Three at once: all or none.
      book.ensureExists(...[1, 2, 3].map((i) => ({ host: `11.${round}.${n % 250}.${i}`, port: 11625 })));
      writeSync(1, `learned 11.${round}.${n % 250}\n`);
    } else {
      const type = n % 10 === 0 ? "preferred" : "outbound";
      const record = book.update({ host, port: 11625 }, { type, backoff: "increase" });
      writeSync(1, `dialed ${host} ${record.type} ${record.numFailures} ${record.nextAttemptAt}\n`);
    }
  }
}

function bans(): void {
  const manager = new BanManager(db, { clock: systemClock });
  for (let n = 0;; n++) {
    const id = (k: number) => encodeNodeId(Uint8Array.from({ length: 32 }, (_, i) => [round, k >> 8, k & 255][i] ?? 0));
    if (n % 3 === 2) {
      manager.unban(id(n - 2));
      writeSync(1, `unbanned ${id(n - 2)}\n`);
    } else {
      const ban = manager.ban(id(n), { untilAt: n % 3 === 1 ? 4e12 + n : null, reason: `reason ${n}` });
      writeSync(1, `banned ${ban.nodeId} ${ban.untilAt} ${ban.reason}\n`);
    }
  }
}

if (kind === "peers") peers();
else bans();
