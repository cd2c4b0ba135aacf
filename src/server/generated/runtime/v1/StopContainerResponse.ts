// Original file: proto/cri-api/api.proto


export interface StopContainerResponse {
}

export interface StopContainerResponse__Output {
}
