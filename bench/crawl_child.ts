/** The twin, the crawler or the bare crawl loop of the crawl benchmark. Started by crawl.ts. */
import process from "node:process";
import { systemClock } from "../overlay/base/clock.ts";
import { systemRandom } from "../overlay/base/random.ts";
import { LocalNode } from "../overlay/peer/local_node.ts";
import { systemResolver, TcpTransport } from "../overlay/transport/tcp.ts";
import { MessageType } from "../overlay/wire/messages.ts";
import { crawl } from "../survey/crawl/crawler.ts";
import { planTwin } from "../survey/twin/plan.ts";
import { seedAddresses } from "../survey/twin/truth.ts";
import { Twin } from "../survey/twin/twin.ts";
import { cpuUs, serve } from "./children.ts";
import { floorDial, floorIdentity, PASSPHRASE } from "./floor.ts";

/** Visits at once, of the crawler and of the bare loop. */
const AT_ONCE = 50;
/** Every node answers: what is measured is work, not the waiting for silent ones. */
const ALL_REACHABLE = {
  reachable: 1,
  full: 0,
  slow: 0,
  silent: 0,
  banning: 0,
  "other-network": 0,
  "other-version": 0,
  "not-stellar": 0,
  dead: 0,
};

async function twin({ nodes, port, ledgerMs }: { nodes: number; port: number; ledgerMs: number }) {
  const plan = planTwin({ nodes, seed: 7, topology: "random", mix: ALL_REACHABLE, port });
  const fleet = new Twin(plan, {
    clock: systemClock,
    random: systemRandom,
    transportFor: (host) => new TcpTransport({ localHost: host }),
    ledgerMs,
  });
  const start = await fleet.start();
  return { seeds: seedAddresses(plan), ...start };
}

/** The engine's crawler with the polite limits raised: no rate, many visits per host, as many at once as the bare loop. */
async function ours({ seeds }: { seeds: string[] }) {
  const cpu = cpuUs(), startedMs = performance.now();
  const report = await crawl({
    network: { name: "local", passphrase: PASSPHRASE },
    seeds,
    local: new LocalNode({ passphrase: PASSPHRASE, clock: systemClock, random: systemRandom }),
    transport: new TcpTransport(),
    resolver: systemResolver,
    clock: systemClock,
    random: systemRandom,
    budget: { concurrency: AT_ONCE, dialsPerSecond: Infinity, perHost: AT_ONCE, perSubnet: Infinity },
    pings: 0,
  });
  const found = report.addresses.filter((entry) => entry.outcomes.some((visit) => visit.state === "reachable")).length;
  return { found, ms: performance.now() - startedMs, cpuUs: cpuUs() - cpu };
}

/** Handshake, wait for PEERS, hang up. The whole address book in one Set. */
function bare({ seeds }: { seeds: string[] }) {
  const cpu = cpuUs(), startedMs = performance.now();
  const identity = floorIdentity(true);
  const known = new Set(seeds), queue = [...seeds];
  let active = 0, found = 0;
  return new Promise((resolve) => {
    const pump = () => {
      while (active < AT_ONCE && queue.length > 0) visit(queue.shift()!);
      if (active === 0) resolve({ found, ms: performance.now() - startedMs, cpuUs: cpuUs() - cpu });
    };
    const visit = (address: string) => {
      active++;
      const colon = address.lastIndexOf(":");
      let open = true;
      const done = () => {
        if (!open) return;
        open = false;
        active--;
        pump();
      };
      const socket = floorDial(Number(address.slice(colon + 1)), identity, (peer) => {
        peer.onMessage = (type, chunk, start) => {
          if (type !== MessageType.peers || !open) return;
          const view = new DataView(chunk.buffer, chunk.byteOffset + start);
          const count = view.getUint32(4);
          for (let i = 0, at = 8; i < count; i++, at += 16) {
            if (view.getUint32(at) !== 0) {
              at += 12; // IPv6: none of ours
              continue;
            }
            const port = view.getUint32(at + 8);
            // Address books also hold nonsense; the twin's own nodes are all on loopback.
            if (view.getUint8(at + 4) !== 127 || port === 0 || port > 65535) continue;
            const ip = `${view.getUint8(at + 4)}.${view.getUint8(at + 5)}.${view.getUint8(at + 6)}.${
              view.getUint8(at + 7)
            }`;
            const text = `${ip}:${port}`;
            if (known.has(text)) continue;
            known.add(text);
            queue.push(text);
          }
          found++;
          socket.end();
          done();
        };
      }, address.slice(0, colon));
      socket.on("error", done);
      socket.on("close", done);
    };
    pump();
  });
}

const [, , which] = process.argv;
serve(which === "twin" ? { run: twin } : { run: which === "floor" ? bare : ours });
