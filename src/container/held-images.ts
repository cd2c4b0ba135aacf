import { DomainError, messageOf } from "../lib/errors.ts";
import type { ContainerConfig } from "../oci/config.ts";
import type { ImageConfig } from "../oci/spec/input.ts";
import { type Container, imagesOf } from "./container.ts";

/** An image that cannot go away while this is held. */
export interface HeldImage extends Disposable {
  readonly id: string;
  readonly repoDigests: readonly string[];
  readonly config: ImageConfig;
  /** Bottom first. */
  readonly layerDirs: readonly string[];
}

export interface ContainerImages {
  /** Throws `notFound` when the image is not here. */
  acquire(reference: string): HeldImage;
  /** The container uses the image too from now on, until `release`. Throws `failedPrecondition` when the image is gone. */
  retain(containerId: string, imageId: string): void;
  release(containerId: string): void;
}

/** Containers of an earlier daemon hold their images again. One whose image was lost is served all the same, and told of. */
export function retainAgain(
  images: Pick<ContainerImages, "retain">,
  containers: readonly Container[],
  log: (message: string, fields: Readonly<Record<string, string>>) => void,
): void {
  for (const container of containers) {
    for (const imageId of imagesOf(container)) {
      try {
        images.retain(container.id, imageId);
      } catch (error) {
        log("a container has lost its image", { container: container.id, image: imageId, error: messageOf(error) });
      }
    }
  }
}

/** An image that a container mounts: `index` is the place of its mount in `config.mounts`. */
export interface MountedImage {
  readonly index: number;
  readonly image: HeldImage;
}

/** All that a container is made from. */
export interface HeldImages extends Disposable {
  readonly root: HeldImage;
  readonly mounted: readonly MountedImage[];
}

/** What kubelets make a pod's reason of. */
export const IMAGE_VOLUME_FAILED = "ImageVolumeMountFailed";

/** Holds the images of a request. Throws `notFound` when one is not here. */
export function holdImages(images: Pick<ContainerImages, "acquire">, config: ContainerConfig): HeldImages {
  using held = new DisposableStack();
  const root = held.use(images.acquire(config.image.image));
  const mounted = config.mounts.flatMap(({ image }, index) =>
    image === undefined ? [] : [{ index, image: held.use(acquireMounted(images, image.image, index)) }],
  );
  const kept = held.move();
  return { root, mounted, [Symbol.dispose]: () => kept.dispose() };
}

function acquireMounted(images: Pick<ContainerImages, "acquire">, reference: string, index: number): HeldImage {
  try {
    return images.acquire(reference);
  } catch (error) {
    if (!(error instanceof DomainError)) throw error;
    const message = `${IMAGE_VOLUME_FAILED}: config.mounts[${index}].image: ${error.message}: pull it first`;
    throw new DomainError(error.kind, message, { fields: error.fields, cause: error });
  }
}
