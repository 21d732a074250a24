package redisstore_test

import (
	"context"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/redis/rueidis"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store/redisstore"
)

// The sessions of an application that runs on several machines.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	redis, err := redisstore.Open(ctx, os.Getenv("REDIS_URL"), nil) // such as rediss://shop:secret@redis.example.com
	if err != nil {
		log.Fatal(err)
	}
	defer redis.Close()

	sessions, err := session.New(session.Config{SecretKey: os.Getenv("SECRET_KEY"), Store: redis})
	if err != nil {
		log.Fatal(err)
	}
	defer sessions.Close()
	log.Fatal(http.ListenAndServe(":8080", sessions.Handler(http.DefaultServeMux)))
}

// A cluster, where a logout or a login must survive the failure of a master: each write waits for a replica.
func ExampleOpen() {
	url := "rediss://shop:secret@node1.example.com:6379,node2.example.com:6379,node3.example.com:6379"
	redis, err := redisstore.Open(context.Background(), url, &redisstore.Options{Replicas: 1})
	if err != nil {
		log.Fatal(err)
	}
	defer redis.Close()
}

// A client that the application uses for other things, too.
func ExampleNew() {
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress:      []string{"redis.example.com:6379"},
		AlwaysPipelining: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	redis, err := redisstore.New(client, &redisstore.Options{Prefix: "shop:"})
	if err != nil {
		log.Fatal(err)
	}
	_ = redis // goes into session.Config.Store
}
