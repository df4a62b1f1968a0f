vcl 4.1;
backend origin { .host = "127.0.0.1"; .port = "{origin}"; }
sub vcl_recv {
  if (req.http.Authorization != "Bearer {token}") { return (synth(401)); }
  unset req.http.Authorization;
  return (hash);
}
sub vcl_backend_fetch { set bereq.http.Authorization = "Bearer vendor-key"; }
sub vcl_backend_response {
  set beresp.grace = 1h;
  if (bereq.url ~ "^/pass/") { set beresp.uncacheable = true; set beresp.ttl = 1s; return (deliver); }
  set beresp.ttl = 1h;
  return (deliver);
}
