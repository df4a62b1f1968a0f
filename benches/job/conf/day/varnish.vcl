vcl 4.1;
backend vendor { .host = "127.0.0.1"; .port = "{vendor}"; }
sub vcl_recv { return (hash); }
sub vcl_backend_response { set beresp.ttl = {ttl_ms}ms; set beresp.grace = 0s; return (deliver); }
