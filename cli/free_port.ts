/** Ports for listeners whose user named none. */
import { isFailure } from "../overlay/base/errors.ts";
import type { Transport } from "../overlay/transport/transport.ts";

/**
 * A port nobody listens on. The ones the system chooses it also gives to outgoing connections, at any moment until the node
 * listens; lower ones are left alone. @throws OverlayError `listen_failed`
 */
export async function freePort(host: string, transport: Transport): Promise<number> {
  const portThatOpens = async (port: number) => {
    const listener = await transport.listen({ host, port }, (socket) => socket.destroy());
    await listener.close();
    return listener.address.port;
  };
  for (let tries = 0;; tries++) {
    const chosen = await portThatOpens(0);
    try {
      return await portThatOpens(12_000 + (chosen % 16_000));
    } catch (error) {
      if (tries >= 10 || !isFailure("port_in_use")(error)) throw error;
    }
  }
}
