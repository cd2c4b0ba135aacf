import { Announcements, type PodEvents } from "../sandbox/pod-events.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";
import { type Container, lifeOf } from "./container.ts";
import type { ContainerStore } from "./container-store.ts";

export interface ContainerAnnouncementsPorts {
  readonly containers: Pick<ContainerStore, "get" | "list">;
  readonly sandboxes: { byId(id: string): Sandbox };
  readonly events: PodEvents;
}

/** Tells of each step of a container's life once. What is there when this is made counts as told. */
export class ContainerAnnouncements {
  readonly #ports: ContainerAnnouncementsPorts;
  readonly #announcements = new Announcements();

  constructor(ports: ContainerAnnouncementsPorts) {
    this.#ports = ports;
    for (const container of ports.containers.list()) this.#announcements.assume(container.id, lifeOf(container));
  }

  /** Tells what memory shows of it and nobody was told of yet. Its sandbox has a row. */
  tell({ id, sandboxId }: Container): void {
    const { containers, sandboxes, events } = this.#ports;
    const emit: Parameters<Announcements["tell"]>[2] = (type) => events.emit(type, id, sandboxes.byId(sandboxId));
    this.#announcements.tell(id, lifeOf(containers.get(id)), emit);
  }
}
