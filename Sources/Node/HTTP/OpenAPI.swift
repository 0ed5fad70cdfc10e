/// The API as a machine reads it: OpenAPI 3.1, written by hand, checked by a test against the
/// routes.
package enum OpenAPI {
    package static let document = #"""
        {"openapi":"3.1.0",
        "info":{"title":"Quipu","version":"1","description":"Counts events exactly."},
        "components":{
        "responses":{"problem":{"description":"RFC 9457; writes carry an outcome","content":{
        "application/problem+json":{"schema":{"type":"object"}}}},
        "ok":{"description":"OK","content":{"application/json":{"schema":{"type":"object"}}}}},
        "parameters":{
        "type":{"name":"type","in":"path","required":true,"schema":{"type":"string"},
        "description":"* is all types"},
        "key":{"name":"key","in":"path","required":true,"schema":{"type":"string"}},
        "from":{"name":"from","in":"query","schema":{"type":"string"},
        "description":"RFC 3339, YYYY-MM-DD, epoch seconds or milliseconds, or relative (-15m)"},
        "to":{"name":"to","in":"query","schema":{"type":"string"},"description":"exclusive"},
        "limit":{"name":"limit","in":"query","schema":{"type":"integer"}},
        "page":{"name":"page","in":"query","schema":{"type":"string"}},
        "consistency":{"name":"consistency","in":"query","schema":{"type":"string",
        "enum":["ONE","QUORUM","ALL"],"default":"QUORUM"}}}},
        "paths":{
        "/v1/events":{"post":{"summary":"Count a batch of events, once",
        "parameters":[{"name":"consistency","in":"query","schema":{"type":"string",
        "enum":["ONE","QUORUM","ALL","ANY"],"default":"QUORUM"},"description":
        "ANY: counted at QUORUM, or else parked on this node and counted later; off by default"},
        {"name":"type","in":"query","schema":{"type":"string"},"description":"default type"},
        {"name":"key_field","in":"query","schema":{"type":"string"}},
        {"name":"time_field","in":"query","schema":{"type":"string"}},
        {"name":"type_field","in":"query","schema":{"type":"string"}},
        {"name":"value_field","in":"query","schema":{"type":"string"}},
        {"name":"Quipu-Producer","in":"header","schema":{"type":"string","format":"uuid"}},
        {"name":"Quipu-Sequence","in":"header","schema":{"type":"integer"}},
        {"name":"Quipu-Created","in":"header","schema":{"type":"integer"}},
        {"name":"Idempotency-Key","in":"header","schema":{"type":"string"}}],
        "requestBody":{"required":true,"content":{"application/x-ndjson":{},"application/json":{},
        "text/csv":{},"text/tab-separated-values":{},"text/x-clf":{}}},
        "responses":{"200":{"$ref":"#/components/responses/ok"},
        "202":{"description":"Parked (ANY): not counted yet","content":{
        "application/json":{"schema":{"type":"object"}}}},
        "default":{"$ref":"#/components/responses/problem"}}}},
        "/v1/batches/{producer}/{sequence}":{"get":{"summary":"What became of a batch",
        "parameters":[{"name":"producer","in":"path","required":true,"schema":{"type":"string"}},
        {"name":"sequence","in":"path","required":true,"schema":{"type":"integer"}},
        {"name":"created","in":"query","schema":{"type":"integer"}}],
        "responses":{"200":{"$ref":"#/components/responses/ok"},
        "default":{"$ref":"#/components/responses/problem"}}}},
        "/v1/counts/{type}/{key}":{"get":{"summary":"Counts per window",
        "parameters":[{"$ref":"#/components/parameters/type"},
        {"$ref":"#/components/parameters/key"},{"$ref":"#/components/parameters/from"},
        {"$ref":"#/components/parameters/to"},{"name":"step","in":"query",
        "schema":{"type":"string","enum":["1m","1h","1d","all"]}},
        {"$ref":"#/components/parameters/consistency"}],
        "responses":{"200":{"$ref":"#/components/responses/ok"},
        "default":{"$ref":"#/components/responses/problem"}}}},
        "/v1/top/{type}":{"get":{"summary":"Exact top K",
        "parameters":[{"$ref":"#/components/parameters/type"},
        {"$ref":"#/components/parameters/from"},{"$ref":"#/components/parameters/to"},
        {"name":"k","in":"query","schema":{"type":"integer","default":10}},
        {"name":"by","in":"query","schema":{"type":"string","default":"key"}},
        {"name":"measure","in":"query","schema":{"type":"string","enum":["count","sum"]}},
        {"$ref":"#/components/parameters/consistency"}],
        "responses":{"200":{"$ref":"#/components/responses/ok"},
        "default":{"$ref":"#/components/responses/problem"}}}},
        "/v1/types":{"get":{"summary":"All types","responses":{
        "200":{"$ref":"#/components/responses/ok"}}}},
        "/v1/keys/{type}":{"get":{"summary":"Keys of a type",
        "parameters":[{"$ref":"#/components/parameters/type"},
        {"name":"prefix","in":"query","schema":{"type":"string"}},
        {"$ref":"#/components/parameters/limit"},{"$ref":"#/components/parameters/page"}],
        "responses":{"200":{"$ref":"#/components/responses/ok"}}}},
        "/v1/dead-letters":{"get":{"summary":"Dead letters; and what this node has parked",
        "parameters":[{"name":"reason","in":"query","schema":{"type":"string"}},
        {"name":"type","in":"query","schema":{"type":"string"}},
        {"$ref":"#/components/parameters/limit"},{"$ref":"#/components/parameters/page"}],
        "responses":{"200":{"$ref":"#/components/responses/ok"}}}},
        "/v1/parked":{"get":{"summary":"Batches that this node keeps for level ANY",
        "parameters":[{"$ref":"#/components/parameters/limit"}],
        "responses":{"200":{"$ref":"#/components/responses/ok"}}}},
        "/v1/attributes":{"put":{"summary":"Load attributes of keys",
        "parameters":[{"name":"key_field","in":"query","schema":{"type":"string"}}],
        "requestBody":{"required":true,"content":{"text/csv":{},"application/x-ndjson":{}}},
        "responses":{"200":{"$ref":"#/components/responses/ok"},
        "default":{"$ref":"#/components/responses/problem"}}}},
        "/v1/attributes/{key}":{"get":{"summary":"Attributes of a key",
        "parameters":[{"$ref":"#/components/parameters/key"}],
        "responses":{"200":{"$ref":"#/components/responses/ok"},
        "default":{"$ref":"#/components/responses/problem"}}}},
        "/v1/partitions":{"get":{"summary":"Partitions and their replicas","responses":{
        "200":{"$ref":"#/components/responses/ok"}}}},
        "/v1/cluster":{"get":{"summary":"Nodes, as this one sees them","responses":{
        "200":{"$ref":"#/components/responses/ok"}}}},
        "/v1/ring":{"get":{"summary":"Owners by arc","responses":{
        "200":{"$ref":"#/components/responses/ok"}}}},
        "/v1/endpoints/{key}":{"get":{"summary":"Replicas of a key",
        "parameters":[{"$ref":"#/components/parameters/key"}],
        "responses":{"200":{"$ref":"#/components/responses/ok"}}}},
        "/v1/gossip":{"get":{"summary":"What gossip spread","responses":{
        "200":{"$ref":"#/components/responses/ok"}}}},
        "/v1/info":{"get":{"summary":"This node","responses":{
        "200":{"$ref":"#/components/responses/ok"}}}},
        "/v1/flush":{"post":{"summary":"Write the memtable to files","responses":{
        "200":{"$ref":"#/components/responses/ok"}}}},
        "/livez":{"get":{"summary":"The process answers","responses":{"200":{"description":"OK"}}}},
        "/readyz":{"get":{"summary":"Whether to send requests here","responses":{
        "200":{"description":"Ready"},"503":{"description":"Not ready, with reasons"}}}},
        "/metrics":{"get":{"summary":"Prometheus text","responses":{"200":{"description":"OK"}}}}
        }}
        """#
}
