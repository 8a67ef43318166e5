import { VirtualClock } from "../overlay/base/clock.ts";
import { pubnet } from "../overlay/base/config.ts";
import { SeededRandom } from "../overlay/base/random.ts";
import { openDatabase } from "../overlay/db/database.ts";
import { migrate } from "../overlay/db/schema.ts";
import { MemoryNetwork } from "../overlay/transport/memory.ts";
import { OverlayManager } from "../overlay/manager/overlay_manager.ts";
const N = Number(process.argv[2] ?? 123), SEC = Number(process.argv[3] ?? 60);
const clock = new VirtualClock(), random = new SeededRandom(5);
const net = new MemoryNetwork({ clock, delayMs: () => 10 });
const host = (n: number) => `11.0.${n >> 8}.${(n & 255)}`;
const nodes: OverlayManager[] = [];
const t0 = performance.now();
for (let n = 0; n < N; n++) {
  const database = await openDatabase(":memory:");
  migrate(database);
  const node = new OverlayManager({
    config: pubnet({ networkPassphrase: "x", listeningHost: host(n + 1), knownPeers: Array.from({ length: N }, (_, k) => k).filter(k => k !== n).map(k => ({ host: host(k + 1), port: 11625 })), isValidator: true, targetPeerConnections: 2, maxAdditionalPeerConnections: 4, skipConnectionAdjustment: true }),
    transport: net.transport(host(n + 1)), resolver: net, clock, random, database,
  });
  nodes.push(node);
  await node.start();
}
console.log("started", Math.round(performance.now() - t0));
for (let s = 0; s < SEC; s += 5) {
  const t = performance.now();
  await clock.advance(5000);
  console.log(s + 5, Math.round(performance.now() - t), "ms", nodes.reduce((a, n) => a + n.counts.outbound, 0), nodes.reduce((a, n) => a + n.counts.pending, 0), clock.pending);
}
