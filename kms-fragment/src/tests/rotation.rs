use symbolon_proto::evaluate::{Answer, Refusal};
use symbolon_proto::frame::EvaluateRequest;
use symbolon_proto::frame::Target;
use symbolon_proto::group::Scalar;
use symbolon_proto::id::RequestId;
use symbolon_proto::order::Action;

use super::client::{Broker, Fixture};
use super::people::{People, any};
use crate::AdminError;
use crate::rng::os_rng;

const DAY: u64 = 86_400;

fn restoring(target: Target) -> EvaluateRequest {
    let points = vec![*Scalar::random(&mut os_rng()).public_key().point()];
    EvaluateRequest::new(target, RequestId::random(&mut os_rng()), points).unwrap().for_restore()
}

async fn answers(broker: &Broker, target: Target) -> bool {
    matches!(broker.send(&broker.request(target, 1)).await, Answer::Evaluated(..))
}

/// Sends without verifying points: they are under another epoch's key than the broker's manifest names.
async fn status(broker: &Broker, request: &EvaluateRequest) -> u16 {
    let (_, answer) = broker.post(request.to_bytes()).await;
    u16::from_be_bytes([answer[6], answer[7]])
}

#[tokio::test]
async fn two_epochs_live_side_by_side_until_officers_retire_the_old() {
    let people = People::new();
    let mut fixture = Fixture::with(|options| people.enter(options)).await;
    let mut broker = fixture.broker().await;
    let old = broker.target();
    let old_view = broker.twin();
    let key = old.key;
    fixture.service.new_epoch(key, 2).unwrap();
    fixture.service.new_epoch(key, 2).unwrap();
    assert!(matches!(fixture.service.new_epoch(key, 4), Err(AdminError::EpochOrder { newest: 2 })));
    assert!(matches!(fixture.service.new_epoch(key, 3), Err(AdminError::StillRotating)));
    assert!(answers(&broker, old).await, "the old epoch under the old manifest");
    broker.finish_enrolment(&fixture.root).await;
    let new = broker.target();
    assert_eq!(new.key_epoch, 2);
    assert!(answers(&broker, new).await);
    assert!(matches!(broker.send(&restoring(new)).await, Answer::Refused(Refusal::WrongKeyEpoch)));

    let order = |service: &crate::Service, action| people.order(service, action, &[1, 2]);
    let retire = Action::Retire { key, key_epoch: 1 };
    let early = fixture.service.carry_out(&order(&fixture.service, retire), any);
    assert!(matches!(early, Err(AdminError::NotAsked)));
    assert!(matches!(fixture.service.ask_retire(key, 2), Err(AdminError::NewestEpoch)));
    fixture.service.ask_retire(key, 1).unwrap();
    fixture.service.ask_retire(key, 1).unwrap();
    assert_eq!(status(&broker, &broker.request(old, 1)).await, 0, "asking is not retiring");
    fixture.service.carry_out(&order(&fixture.service, retire), any).unwrap();
    assert_eq!(status(&broker, &broker.request(old, 1)).await, 2);
    assert_eq!(status(&broker, &restoring(old)).await, 2, "restores need an order of their own");

    let restore = Action::Restore { key, key_epoch: 1 };
    fixture.service.carry_out(&order(&fixture.service, restore), any).unwrap();
    assert_eq!(status(&broker, &restoring(old)).await, 0);
    assert_eq!(status(&broker, &broker.request(old, 1)).await, 2, "without the flag nothing");
    fixture = fixture.restart().await;
    broker.connect(fixture.address).await;
    broker.hello(2).await;
    assert_eq!(status(&broker, &restoring(old)).await, 0);
    fixture.clock.forward(7 * DAY);
    assert_eq!(status(&broker, &restoring(old)).await, 2, "the order has expired");

    let destroy = Action::DestroyEpoch { key, key_epoch: 1 };
    fixture.service.carry_out(&order(&fixture.service, destroy), any).unwrap();
    let again = fixture.service.carry_out(&order(&fixture.service, restore), any);
    assert!(matches!(again, Err(AdminError::PendingDestroy)));
    fixture.clock.forward(14 * DAY);
    fixture.service.tend_destructions().unwrap();
    assert_eq!(fixture.service.dir.list("keys").unwrap(), [format!("{key}-2-1")]);
    assert!(answers(&broker, new).await, "the new epoch is untouched");
    let certificates = fixture.service.certificates(key).unwrap();
    assert!(
        certificates[0].says.contains("epochs of the key") && certificates[0].says.contains("key epoch 1")
    );
    fixture.service.new_epoch(key, 3).unwrap();
    drop(old_view);
}
