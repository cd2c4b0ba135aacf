// Original file: proto/cri-api/api.proto


export interface GetEventsRequest {
}

export interface GetEventsRequest__Output {
}
