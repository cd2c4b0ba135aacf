/**
 * Request fields that decide nothing, and why; every other one is honoured or refused by its name.
 * fields.test.ts fails when a field is neither read nor listed here.
 */
export const ignoredFields: Readonly<Record<string, string>> = {
  "VersionRequest.version": "the answer is the same for every client",
  "PullImageRequest.sandboxConfig": "an image is the same for every sandbox",
  "ImageSpec.imageRef": "it belongs to answers",
};
